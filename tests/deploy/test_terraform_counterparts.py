"""What `turnout package` says to Terraform is what it says to CloudFormation, for each target that we have."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from turnout.deploy.cloudformation import cloudformation
from turnout.deploy.terraform.configuration import terraform
from turnout.interfaces.deployment import (
    ConsumerShape,
    Deployment,
    Description,
    Parameter,
    Placed,
    Resource,
    RouteShape,
    ServiceShape,
    TimerShape,
)
from turnout.interfaces.permission import Permission
from turnout_ecs.fargate.description import describe
from turnout_lambda.packaging import description as functions
from turnout_lambda.target import LambdaTarget

from tests.deploy.counterparts import dangling, differences

TOPIC = "arn:aws:sns:eu-central-1:123456789012:ops"
GROUP = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/shop/0123456789abcdef"
USE = Permission(
    actions=("sqs:SendMessage",), resources=("arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:jobs",)
)
ALERTS = ServiceShape(
    name="alerts",
    timers=(TimerShape(name="look", every_s=5.0), TimerShape(name="tidy up", every_s=601.0)),
    consumers=(ConsumerShape(name="alerts", events=("ended",)),),
)
OAUTH = ServiceShape(name="oauth", routes=(RouteShape(method="GET", path="/connect/{link}"),))
ON_LAMBDA = (Placed(shape=ALERTS), Placed(shape=OAUTH, memory_bytes=10**9, processes=3))
ON_ECS = (Placed(shape=ServiceShape(name="runner"), processes=2), Placed(shape=OAUTH))


@pytest.fixture(autouse=True)
def chalice(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Chalice says of each function, without its minute of work."""

    def package(deployment: Deployment, made: Any, options: Any, code: Path, tell: Any) -> Any:
        return {
            "Resources": {id: {"Properties": given} for one in made for id, given in said(deployment, one, options)}
        }

    def said(deployment: Deployment, one: Any, options: Any) -> Iterator[tuple[str, Any]]:
        trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        policy = functions._policy(deployment, one, options)
        yield (
            one.id,
            {
                "Handler": f"app.{one.handler}",
                "Architectures": [options.architecture],
                "Timeout": one.timeout_s,
                "MemorySize": one.memory_mb,
            },
        )
        yield (
            f"{one.id}Role",
            {
                "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [trust]},
                "Policies": [{"PolicyName": "function", "PolicyDocument": policy}],
            },
        )

    monkeypatch.setattr(functions, "_package", package)


def deployment(root: Path, target: str, *services: Placed, **given: Any) -> Deployment:
    parts = {"variables": ("REDIS_URL", "TURNOUT_SECRET_KEY"), "permissions": (USE,), **given}
    return Deployment(project="My shop", environment="production", root=root, target=target, services=services, **parts)


LAMBDA_OPTIONS: list[dict[str, Any]] = [{}, {"vpc": False, "alarm_topic": TOPIC, "tags": {"team": "a ${b}"}}]
ECS_OPTIONS: list[dict[str, Any]] = [
    {},
    {"registry": "public"},
    {
        "architecture": "arm64",
        "disk": 40,
        "public_ip": True,
        "target_groups": {"oauth": GROUP},
        "scaling": {"runner": {"most": 10, "cpu": 70}},
        "datadog": {"site": "datadoghq.eu"},
        "alarm_topic": TOPIC,
    },
]


def described(root: Path, target: str, options: dict[str, Any]) -> tuple[Deployment, Description]:
    if target == "lambda":
        made = deployment(root, target, *ON_LAMBDA, options=options)
        return made, LambdaTarget.describe(made, root, lambda text: None)
    made = deployment(root, target, *ON_ECS, options=options, metrics="cloudwatch")
    return made, describe(made)


CASES = [("lambda", one) for one in LAMBDA_OPTIONS] + [("ecs", one) for one in ECS_OPTIONS]


@pytest.mark.parametrize(("target", "options"), CASES)
def test_terraform_is_told_what_cloudformation_is(tmp_path: Path, target: str, options: dict[str, Any]) -> None:
    made = described(tmp_path, target, options)

    configuration = terraform(*made)

    assert differences(cloudformation(*made), configuration) == []
    assert dangling(configuration) == []
    assert configuration["variable"].keys() == {one.name for one in made[1].parameters}
    assert configuration["output"].keys() == made[1].outputs.keys()
    assert list(configuration) == ["//", "terraform", "variable", "data", "locals", "resource", "output"]


@pytest.mark.parametrize(("target", "options"), CASES)
def test_each_value_that_is_lost_would_be_seen(tmp_path: Path, target: str, options: dict[str, Any]) -> None:
    made = described(tmp_path, target, options)
    template, configuration = cloudformation(*made), terraform(*made)

    for type, labels in configuration["resource"].items():
        for label, body in labels.items():
            for argument in body.keys() - {"depends_on", "lifecycle", "role", "rule", "name", "wait_for_steady_state"}:
                if type == "aws_appautoscaling_policy" and argument in {"scalable_dimension", "service_namespace"}:
                    continue
                if argument == "desired_count" and "lifecycle" in body:
                    continue
                broken = deepcopy(configuration)
                lost = broken["resource"][type][label].pop(argument)
                if lost not in ([], {}, [{"variables": {}}]):
                    assert differences(template, broken) != [], f"{type}.{label}.{argument}"


def test_parts_and_everything_that_can_be_referred_to() -> None:
    trust = {"Statement": [{"Condition": {"StringLike": {"aws:user": {"Fn::Sub": "${!aws:username}-${Queue.Arn}"}}}}]}
    found = Description(
        resources=(
            Resource(
                id="Queue",
                type="AWS::SQS::Queue",
                properties={
                    "QueueName": {"Fn::Join": ["-", ["a", {"Ref": "Name"}, "%{x}"]]},
                    "RedrivePolicy": {"deadLetterTargetArn": {"Fn::GetAtt": ["Dead", "Arn"]}, "maxReceiveCount": 4},
                    "MessageRetentionPeriod": 60,
                    "VisibilityTimeout": 30,
                    "MaximumMessageSize": 1024,
                },
                depends_on=("Role",),
                keep=True,
            ),
            Resource(id="Dead", type="AWS::SQS::Queue", properties={"Tags": [{"Key": "a", "Value": {"Ref": "Name"}}]}),
            Resource(
                id="Role",
                type="AWS::IAM::Role",
                properties={
                    "AssumeRolePolicyDocument": trust,
                    "ManagedPolicyArns": [{"Fn::Sub": "arn:${AWS::Partition}:x"}, "arn:y"],
                },
            ),
            Resource(
                id="Group",
                type="AWS::EC2::SecurityGroup",
                properties={
                    "GroupDescription": "tasks",
                    "SecurityGroupEgress": [{"IpProtocol": "-1", "CidrIp": "0.0.0.0/0"}],
                    "SecurityGroupIngress": [
                        {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 2, "CidrIp": "10.0.0.0/8"},
                        {"IpProtocol": "tcp", "FromPort": 3, "ToPort": 4, "SourceSecurityGroupId": {"Ref": "Name"}},
                    ],
                },
            ),
        ),
        parameters=(Parameter(name="Name", description="A name."),),
        outputs={"Url": {"Ref": "Queue"}},
    )
    made = Deployment(project="p", environment="", root=Path("/x"), target="t", services=())

    configuration = terraform(made, found)

    assert differences(cloudformation(made, found), configuration) == []
    assert dangling(configuration) == []
