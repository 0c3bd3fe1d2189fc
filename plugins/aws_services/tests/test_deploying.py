"""`turnout deploy`, `status` and `destroy` against moto's CloudFormation: what they say, and what is there then."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3  # type: ignore[import-untyped]
import pytest
from click.testing import CliRunner, Result
from turnout.errors import UserError
from turnout_aws.deploying.commands import deploy, destroy, status
from turnout_aws.deploying.packages import read_packages, stack_name
from turnout_aws.deploying.plan import capabilities, change_of

from .deploying_parts import NAME, bucket, queue, role, template, write_package

STORE = "artefacts"


@pytest.fixture
def moto(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """A client of a service, of an empty cloud that has a bucket for artefacts."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    with urllib.request.urlopen(urllib.request.Request(f"{server}/moto-api/reset", method="POST")) as answered:
        assert answered.status == 200
    made: dict[str, Any] = {}

    def client(service: str) -> Any:
        made[service] = made.get(service) or boto3.client(service, endpoint_url=server)
        return made[service]

    client("s3").create_bucket(Bucket=STORE, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    yield client
    for one in made.values():
        one.close()


def run(command: Any, *arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def deployed(*arguments: str) -> Result:
    given = ("--bucket", STORE, "--parameter", "DatabaseUrlSecret=arn:secret", *arguments)
    return run(deploy, *given)


def test_the_first_deployment_makes_what_the_template_has(project: Path, moto: Callable[[str], Any]) -> None:
    name = f"payloads-{uuid4().hex}"
    write_package(project, template(Hints=queue("hints"), Payloads=bucket(name), Role=role("s3:GetObject")))

    result = deployed()

    assert result.exit_code == 0, result.output
    assert f"{NAME}: deployed" in result.output
    assert moto("sqs").get_queue_url(QueueName="hints")["QueueUrl"]
    assert name in [one["Name"] for one in moto("s3").list_buckets()["Buckets"]]
    assert [one["RoleName"] for one in moto("iam").list_roles()["Roles"]] != []
    key = f"turnout/shop/{hashlib.sha256(b'code').hexdigest()}.zip"
    assert moto("s3").get_object(Bucket=STORE, Key=key)["Body"].read() == b"code"
    (stack,) = moto("cloudformation").describe_stacks(StackName=NAME)["Stacks"]
    assert {one["Key"]: one["Value"] for one in stack["Tags"]} == {
        "turnout:project": "shop",
        "turnout:environment": "production",
        "turnout:target": "lambda",
    }


def test_a_dry_run_shows_the_first_deployment_and_leaves_nothing(project: Path, moto: Callable[[str], Any]) -> None:
    write_package(project, template(Hints=queue("hints"), Role=role("*")))

    result = deployed("--dry-run", "--json")

    (plan,) = json.loads(result.stdout)
    assert [(one["action"], one["resource"], one["type"]) for one in plan["changes"]] == [
        ("create", "Hints", "AWS::SQS::Queue"),
        ("create", "Role", "AWS::IAM::Role"),
    ]
    assert plan["changes"][1]["risks"] == ["it allows everything: * on *"]
    assert "QueueUrls" not in moto("sqs").list_queues()
    assert moto("cloudformation").describe_stacks()["Stacks"] == []
    assert moto("s3").list_objects_v2(Bucket=STORE)["KeyCount"] == 0


def test_the_same_again_changes_nothing(project: Path, moto: Callable[[str], Any]) -> None:
    write_package(project, template(Hints=queue("hints")))
    assert deployed().exit_code == 0

    again = deployed()

    assert again.exit_code == 0, again.output
    assert f"{NAME}: no resource changes" in again.output
    assert "uploading" not in again.output


def test_an_update_creates_changes_and_deletes(project: Path, moto: Callable[[str], Any]) -> None:
    gone, kept = f"gone-{uuid4().hex}", f"kept-{uuid4().hex}"
    first = template(
        Hints=queue("hints"), Gone=bucket(gone), Kept=bucket(kept, DeletionPolicy="Retain"), Old=queue("old")
    )
    write_package(project, first)
    assert deployed().exit_code == 0
    write_package(
        project, template(Hints=queue("hints", VisibilityTimeout=77), Kept=first["Resources"]["Kept"], New=queue("new"))
    )

    planned = run(deploy, "--dry-run", "--json")
    result = run(deploy)  # the bucket and the secret are those of the time before

    assert result.exit_code == 0, result.output
    (plan,) = json.loads(planned.stdout)
    changes = {one["resource"]: (one["action"], one["risks"]) for one in plan["changes"]}
    assert changes == {
        "Gone": ("delete", ["what it holds is deleted"]),
        "Hints": ("change", []),
        "New": ("create", []),
        "Old": ("delete", ["what it holds is deleted"]),
    }
    sqs = moto("sqs")
    url = sqs.get_queue_url(QueueName="hints")["QueueUrl"]
    told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]
    assert told == {"VisibilityTimeout": "77"}
    assert sorted(one.rpartition("/")[2] for one in sqs.list_queues()["QueueUrls"]) == ["hints", "new"]
    buckets = {one["Name"] for one in moto("s3").list_buckets()["Buckets"]}
    assert kept in buckets
    assert gone not in buckets


def test_what_is_missing_is_listed_with_what_it_is(project: Path, moto: Callable[[str], Any]) -> None:
    write_package(project, template(Hints=queue("hints")))

    result = run(deploy)

    assert isinstance(result.exception, UserError)
    assert "ArtefactBucket: The bucket." in str(result.exception)
    assert "DatabaseUrlSecret: The ARN of DATABASE_URL." in str(result.exception)
    assert "CodeKey" not in str(result.exception)
    assert moto("cloudformation").describe_stacks()["Stacks"] == []


def test_a_parameter_that_there_is_not_is_refused(project: Path, moto: Callable[[str], Any]) -> None:
    write_package(project, template(Hints=queue("hints")))

    result = deployed("--parameter", "DatabaseSecret=x")

    assert "no parameter 'DatabaseSecret'" in str(result.exception)


def test_a_default_that_was_changed_takes_effect_and_what_was_given_stays(
    project: Path, moto: Callable[[str], Any]
) -> None:
    def content(default: str) -> dict[str, Any]:
        made = template(Hints=queue("hints", VisibilityTimeout={"Ref": "Wait"}, DelaySeconds={"Ref": "Delay"}))
        for name in ("Wait", "Delay"):
            made["Parameters"][name] = {"Type": "Number", "Default": default}
        return made

    write_package(project, content("5"))
    assert deployed("--parameter", "Delay=7").exit_code == 0
    write_package(project, content("6"))

    result = run(deploy)

    assert result.exit_code == 0, result.output
    sqs = moto("sqs")
    url = sqs.get_queue_url(QueueName="hints")["QueueUrl"]
    told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout", "DelaySeconds"])["Attributes"]
    assert told == {"VisibilityTimeout": "6", "DelaySeconds": "7"}


def test_status_says_how_it_is_and_whether_the_package_is_another(project: Path, moto: Callable[[str], Any]) -> None:
    write_package(project, template(Hints=queue("hints")))
    assert deployed().exit_code == 0
    before = json.loads(run(status, "--json").stdout)
    write_package(project, template(Hints=queue("hints")), code=b"newer")

    (row,) = json.loads(run(status, "--json").stdout)

    assert [one["local"] for one in before] == ["same"]
    assert (row["stack"], row["status"], row["local"]) == (NAME, "CREATE_COMPLETE", "differs")
    assert row["digest"] == before[0]["digest"] != ""


def test_destroy_asks_deletes_and_leaves_what_is_kept(project: Path, moto: Callable[[str], Any]) -> None:
    kept = f"kept-{uuid4().hex}"
    write_package(project, template(Hints=queue("hints"), Kept=bucket(kept, DeletionPolicy="Retain")))
    assert deployed().exit_code == 0
    refused = CliRunner().invoke(destroy, [], input="n\n")
    assert moto("sqs").list_queues()["QueueUrls"]

    result = run(destroy, "--yes", "--json")

    assert refused.exit_code == 1
    assert "goes" in refused.output
    assert "stays" in refused.output
    assert result.exit_code == 0, result.output
    ((told,),) = [[one["resources"] for one in json.loads(result.stdout)]]
    assert {one["resource"]: one["stays"] for one in told} == {"Hints": False, "Kept": True}
    assert "QueueUrls" not in moto("sqs").list_queues()
    assert kept in [one["Name"] for one in moto("s3").list_buckets()["Buckets"]]
    assert json.loads(run(status, "--json").stdout) == []


def test_a_stack_of_somebody_else_is_left_alone(project: Path, moto: Callable[[str], Any]) -> None:
    theirs = {"Resources": {"Theirs": queue("theirs")}}
    moto("cloudformation").create_stack(StackName=NAME, TemplateBody=json.dumps(theirs))
    write_package(project, template(Hints=queue("hints")))

    result = deployed()

    assert isinstance(result.exception, UserError)
    assert "not this project's" in str(result.exception)
    assert json.loads(run(destroy, "--yes", "--json").stdout) == []
    assert moto("sqs").get_queue_url(QueueName="theirs")


def test_a_package_that_was_changed_or_is_for_another_environment_is_refused(project: Path) -> None:
    write_package(project, template(Hints=queue("hints")))
    (project / "dist" / "lambda" / "code.zip").write_bytes(b"other")
    with pytest.raises(UserError, match="not what was packaged"):
        read_packages(project / "dist", project="shop", environment="production")
    write_package(project, template(Hints=queue("hints")), environment="staging")
    with pytest.raises(UserError, match="packaged for 'shop' in the environment 'staging'"):
        read_packages(project / "dist", project="shop", environment="production")


def test_a_large_template_goes_by_the_bucket(
    project: Path, moto: Callable[[str], Any], server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of other hosts the stand-in takes the first word for the bucket.
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.replace("127.0.0.1", "localhost"))
    many = {f"Queue{number}": queue(f"q{number}", Tags=[{"Key": "t", "Value": "v" * 200}]) for number in range(200)}
    write_package(project, template(**many))

    result = deployed()

    assert result.exit_code == 0, result.output
    assert len(moto("sqs").list_queues()["QueueUrls"]) == 200


@pytest.mark.parametrize(
    ("told", "before", "after", "action", "risks"),
    [
        ({"Action": "Modify", "Replacement": "True"}, queue("a"), queue("b"), "replace", ("it is made anew, and what it holds deleted",)),
        ({"Action": "Modify", "Replacement": "Conditional"}, queue("a"), queue("b"), "replace", ("it may be made anew, and what it holds deleted",)),
        ({"Action": "Modify"}, role("s3:GetObject"), role("s3:GetObject", "s3:PutObject"), "change", ("it allows more: s3:PutObject on *",)),
        ({"Action": "Modify"}, role("s3:GetObject", "s3:PutObject"), role("s3:GetObject"), "change", ()),
        ({"Action": "Remove"}, bucket("a", DeletionPolicy="Retain"), None, "forget", ()),
        (
            {"Action": "Add"},
            None,
            {"Type": "AWS::Lambda::Url", "Properties": {"AuthType": "NONE"}},
            "create",
            ("anybody can call its address",),
        ),
    ],
)  # fmt: skip
def test_what_is_risky_is_marked(told: Any, before: Any, after: Any, action: str, risks: tuple[str, ...]) -> None:
    kind = (after or before)["Type"]

    change = change_of(
        {"Replacement": "False", "LogicalResourceId": "It", "ResourceType": kind, **told},
        {"Resources": {"It": before} if before else {}},
        {"Resources": {"It": after} if after else {}},
    )

    assert (change.action, change.risks) == (action, risks)


def test_capabilities_are_asked_for_as_far_as_they_are_needed() -> None:
    named = role("s3:GetObject")
    named["Properties"]["RoleName"] = "mine"

    assert capabilities(template(Hints=queue("hints"))) == []
    assert capabilities(template(Role=role("s3:GetObject"))) == ["CAPABILITY_IAM"]
    assert capabilities(template(Role=named)) == ["CAPABILITY_NAMED_IAM"]


def test_names_of_stacks_are_such_as_cloudformation_takes() -> None:
    assert stack_name("my_shop", "", "lambda") == "my-shop-lambda"
    assert stack_name("1shop", "prod", "ecs") == "t-1shop-prod-ecs"


def test_a_package_for_terraform_is_left_to_terraform(project: Path) -> None:
    write_package(project, template(Hints=queue("hints")))
    directory = project / "dist" / "lambda"
    (directory / "template.json").rename(directory / "main.tf.json")

    with pytest.raises(UserError, match="packaged for Terraform, which deploys it itself"):
        read_packages(project / "dist", project="shop", environment="production")
