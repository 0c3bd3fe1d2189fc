"""A description as Terraform has it: expressions, parts that are resources of their own, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from turnout.deploy.terraform.configuration import terraform
from turnout.errors import BackendError
from turnout.interfaces.deployment import Deployment, Description, Parameter, Resource

SHOP = Deployment(project="My shop", environment="production", root=Path("/x"), target="cloud", services=())
TRUST: dict[str, Any] = {"Version": "2012-10-17", "Statement": []}


def queue(id: str = "Queue", **given: Any) -> Resource:
    return Resource(id=id, type="AWS::SQS::Queue", properties=given)


def made(*resources: Resource, **given: Any) -> Any:
    return terraform(SHOP, Description(resources=resources, **given))


NAMES = (
    Parameter(name="Name", description="What it is called: ${as is}.", default="${x}"),
    Parameter(name="Count", type="Number", description="How many.", default="2"),
    Parameter(name="Subnets", type="List<AWS::EC2::Subnet::Id>", description="Where.", default="a, b"),
)


def test_parameters_are_variables_whose_texts_are_no_templates() -> None:
    assert made(queue(), parameters=NAMES)["variable"] == {
        "Name": {"type": "string", "description": "What it is called: ${as is}.", "default": "${x}"},
        "Count": {"type": "number", "description": "How many.", "default": "2"},
        "Subnets": {"type": "list(string)", "description": "Where.", "default": ["a", "b"]},
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("plain", "plain"),
        ("${not} a %{template}", "$${not} a %%{template}"),
        ({"Ref": "Name"}, "${var.Name}"),
        ({"Ref": "Subnets"}, "${var.Subnets}"),
        ({"Ref": "Other"}, "${aws_sqs_queue.Other.url}"),
        ({"Ref": "AWS::AccountId"}, "${data.aws_caller_identity.current.account_id}"),
        ({"Fn::GetAtt": ["Other", "Arn"]}, "${aws_sqs_queue.Other.arn}"),
        ({"Fn::GetAtt": "Other.Arn"}, "${aws_sqs_queue.Other.arn}"),
        ({"Fn::GetAtt": ["Logs", "Arn"]}, "${aws_cloudwatch_log_group.Logs.arn}:*"),
        (
            {"Fn::Sub": "arn:${AWS::Partition}:${AWS::Region}:${Other.Arn}/${Name}"},
            "arn:${data.aws_partition.current.partition}:${data.aws_region.current.region}:${aws_sqs_queue.Other.arn}/${var.Name}",
        ),
        ({"Fn::Sub": "${!aws:username}%{"}, "$${aws:username}%%{"),
        ({"Fn::Sub": ["${a}-${Name}", {"a": {"Ref": "Other"}}]}, "${aws_sqs_queue.Other.url}-${var.Name}"),
        ({"Fn::Join": ["${", ["a", {"Ref": "Name"}]]}, "a$${${var.Name}"),
        (["a", {"Ref": "Name"}], ["a", "${var.Name}"]),
        (True, True),
        (0, 0),
    ],
)
def test_references_are_expressions(given: Any, expected: Any) -> None:
    logs = Resource(id="Logs", type="AWS::Logs::LogGroup", properties={})

    found = made(queue(QueueName=given), queue("Other"), logs, parameters=NAMES, outputs={"It": given})

    assert found["resource"]["aws_sqs_queue"]["Queue"] == {"name": expected}
    assert found["output"] == {"It": {"value": expected}}


def test_what_cloudformation_knows_by_itself_is_asked_for_once() -> None:
    region = {"Fn::Sub": "${AWS::Region}-${AWS::Region}"}

    assert made(queue(QueueName=region))["data"] == {"aws_region": {"current": {}}}
    assert made(queue(), outputs={"Where": region})["data"] == {"aws_region": {"current": {}}}
    assert "data" not in made(queue())


def test_a_roles_policies_are_resources_that_wait_for_it_and_whoever_refers_to_it_waits_for_them() -> None:
    statement = {"Effect": "Allow", "Resource": [{"Ref": "Name"}], "Action": "x:${y}"}
    policies = [{"PolicyName": "what it does", "PolicyDocument": {"Statement": [statement]}}]
    role = Resource(
        id="Role", type="AWS::IAM::Role", properties={"AssumeRolePolicyDocument": TRUST, "Policies": policies}
    )
    function = Resource(
        id="Function", type="AWS::Lambda::Function", properties={"Role": {"Fn::GetAtt": ["Role", "Arn"]}}
    )

    found = made(function, role, parameters=NAMES)

    assert found["resource"]["aws_iam_role_policy"] == {
        "Role_what_it_does": {
            "role": "${aws_iam_role.Role.name}",
            "policy": "${jsonencode(local.Role_what_it_does_policy)}",
            "name": "what it does",
        }
    }
    assert found["locals"]["Role_what_it_does_policy"] == {
        "Statement": [{"Effect": "Allow", "Resource": ["${var.Name}"], "Action": "x:$${y}"}]
    }
    assert found["resource"]["aws_lambda_function"]["Function"] == {
        "function_name": "My-shop-production-Function",
        "role": "${aws_iam_role.Role.arn}",
        "depends_on": ["aws_iam_role_policy.Role_what_it_does"],
    }
    assert found["resource"]["aws_iam_role"]["Role"] == {
        "assume_role_policy": "${jsonencode(local.Role_assume_role_policy)}"
    }


def test_what_holds_data_is_kept_and_what_comes_first_does() -> None:
    kept = Resource(id="Queue", type="AWS::SQS::Queue", properties={}, depends_on=("Other",), keep=True)

    found = made(kept, queue("Other"))["resource"]["aws_sqs_queue"]

    assert found == {
        "Queue": {"lifecycle": {"prevent_destroy": True}, "depends_on": ["aws_sqs_queue.Other"]},
        "Other": {},
    }


def test_a_service_whose_tasks_are_counted_elsewhere_begins_with_one_and_is_left_alone() -> None:
    found = made(Resource(id="2Service", type="AWS::ECS::Service", properties={}))

    assert found["resource"]["aws_ecs_service"] == {
        "_2Service": {
            "desired_count": 1,
            "name": "My-shop-production-2Service",
            "wait_for_steady_state": True,
            "lifecycle": {"ignore_changes": ["desired_count"]},
        }
    }


def test_a_security_group_lets_out_what_it_lets_out_in_cloudformation() -> None:
    group = Resource(id="Group", type="AWS::EC2::SecurityGroup", properties={"GroupDescription": "g"})

    assert made(group)["resource"] == {
        "aws_security_group": {"Group": {"description": "g"}},
        "aws_vpc_security_group_egress_rule": {
            "Group_1": {
                "security_group_id": "${aws_security_group.Group.id}",
                "ip_protocol": "-1",
                "cidr_ipv4": "0.0.0.0/0",
            }
        },
    }


@pytest.mark.parametrize(
    ("resource", "said"),
    [
        (Resource(id="A", type="AWS::X::Y", properties={}), r"A: the type AWS::X::Y is not known"),
        (queue(Colour="red"), r"Queue \(AWS::SQS::Queue\): Colour: no argument is known for this property"),
        (queue(QueueName={"a": 1}), r"QueueName: its parts are not known"),
        (queue(QueueName=None), r"QueueName: None cannot be written"),
        (queue(QueueName={"Ref": "Nobody"}), r"QueueName: refers to 'Nobody', which there is not"),
        (queue(QueueName={"Ref": "AWS::StackName"}), r"QueueName: refers to 'AWS::StackName', which there is not"),
        (queue(QueueName={"Fn::GetAtt": ["Queue", "X"]}), r"QueueName: the attribute 'X' of 'Queue' is not known"),
        (queue(QueueName={"Fn::GetAtt": ["No", "Arn"]}), r"QueueName: refers to 'No', which there is not"),
        (queue(QueueName={"Fn::If": ["a", "b", "c"]}), r"QueueName: Fn::If has no counterpart here"),
        (queue(QueueName={"Fn::Sub": "${Subnets}"}), r"QueueName: a list, 'Subnets', within a text"),
        (queue(QueueName={"Fn::Join": [",", {"Ref": "Subnets"}]}), r"QueueName: Fn::Join takes its parts one by one"),
        (queue(QueueName={"Fn::Join": ["", [1]]}), r"QueueName: 1 within a text"),
        (queue(Tags=[{"Key": "a"}]), r"Tags: each must have Key and Value"),
        (queue(Tags=[{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]), r"Tags: 'a' is there twice"),
        (
            Resource(id="F", type="AWS::Lambda::Function", properties={"Code": {"ZipFile": "x"}}),
            r"F \(AWS::Lambda::Function\): Code\.ZipFile: no argument is known",
        ),
        (
            Resource(id="F", type="AWS::Lambda::Function", properties={"Code": "x"}),
            r"Code: must be an object",
        ),
        (
            Resource(id="F", type="AWS::Lambda::Function", properties={"Environment": {"Variables": "x"}}),
            r"Environment\.Variables: must be an object",
        ),
        (
            Resource(
                id="S",
                type="AWS::ECS::Service",
                properties={"NetworkConfiguration": {"AwsvpcConfiguration": {"AssignPublicIp": "maybe"}}},
            ),
            r"AssignPublicIp: must be ENABLED or DISABLED",
        ),
        (
            Resource(
                id="P", type="AWS::ApplicationAutoScaling::ScalingPolicy", properties={"ScalingTargetId": "service/x"}
            ),
            r"ScalingTargetId: must be a `Ref` to a resource",
        ),
        (
            Resource(
                id="R",
                type="AWS::IAM::Role",
                properties={"Policies": [{"PolicyName": "a b", "PolicyDocument": {}}] * 2},
            ),
            r"Policies: 'a b' is there twice",
        ),
    ],
)
def test_what_is_not_known_is_named_and_never_left_out(resource: Resource, said: str) -> None:
    with pytest.raises(BackendError, match=said):
        made(resource, parameters=NAMES)


@pytest.mark.parametrize(
    ("parameter", "said"),
    [
        (Parameter(name="version", description=""), "parameter version: no variable may have this name"),
        (
            Parameter(name="A", type="AWS::SSM::Parameter::Value<String>", description=""),
            "parameter A: the type AWS::SSM::Parameter::Value<String> is not known",
        ),
    ],
)
def test_a_parameter_that_no_variable_can_be_is_named(parameter: Parameter, said: str) -> None:
    with pytest.raises(BackendError, match=said):
        made(queue(), parameters=(parameter,))


def test_an_output_that_refers_to_nothing_is_named() -> None:
    with pytest.raises(BackendError, match="output It: refers to 'Nobody', which there is not"):
        made(queue(), outputs={"It": {"Ref": "Nobody"}})


def test_the_same_description_is_the_same_bytes_and_says_what_it_needs() -> None:
    one, other = (made(queue(QueueName={"Ref": "AWS::Region"}), queue("B"), parameters=NAMES) for _ in range(2))

    assert json.dumps(one) == json.dumps(other)
    assert one["terraform"] == {
        "required_version": ">= 1.5",
        "required_providers": {"aws": {"source": "hashicorp/aws", "version": ">= 6.29, < 7"}},
    }
