"""Services that move between stacks: what runs at each moment, against moto's CloudFormation and for placements at random."""

from __future__ import annotations

import json
import random
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from click.testing import CliRunner, Result
from turnout.errors import UserError
from turnout_aws.deploying.commands import deploy, status
from turnout_aws.deploying.moving import LOCAL, moves_of, order, remains, together, wanted_of
from turnout_aws.deploying.plan import holds_data

from .deploying_parts import queue, template, write_package
from .gate import Gate, gate, xml_refusal

STORE = "artefacts"
Placing = dict[str, str]
"""Service to target."""


@pytest.fixture
def clouds(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Gate, Any]]:
    """The gate before CloudFormation, and a client of it that goes past the gate."""
    with urllib.request.urlopen(urllib.request.Request(f"{server}/moto-api/reset", method="POST")) as answered:
        assert answered.status == 200
    s3 = boto3.client("s3", endpoint_url=server)
    s3.create_bucket(Bucket=STORE, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.close()
    client = boto3.client("cloudformation", endpoint_url=server)
    with gate(server) as before:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server)
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDFORMATION", before.url)
        yield before, client
    client.close()


def place(project: Path, code: bytes = b"code", **services: str) -> None:
    """Settings and packages, as `turnout package` leaves them: a package of a target that nothing is on any more stays."""
    lines = [f'[environments.production.services.{name}]\ntarget = "{target}"' for name, target in services.items()]
    (project / "turnout.toml").write_text(
        '[project]\nname = "shop"\n[environments.production.limits]\n' + "\n".join(lines)
    )
    for target in set(services.values()) - {LOCAL}:
        names = sorted(name for name, at in services.items() if at == target)
        content = template(**{name.title(): runs(name, target) for name in names})
        write_package(project, content, code, target=target, services=names)


def runs(service: str, target: str) -> dict[str, Any]:
    """What runs a service: a resource that the stand-in makes, with a reference to its code."""
    return {
        "Type": "AWS::SSM::Parameter",
        "Properties": {"Name": f"/{target}/{service}", "Type": "String", "Value": {"Ref": "CodeKey"}},
    }


def run(*arguments: str) -> Result:
    return CliRunner().invoke(deploy, ["--bucket", STORE, "--parameter", "DatabaseUrlSecret=arn:secret", *arguments])


def deployed(*arguments: str) -> Result:
    result = run(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def running(client: Any, target: str) -> set[str]:
    """The services that a stack has resources of."""
    try:
        found = client.list_stack_resources(StackName=f"shop-production-{target}")["StackResourceSummaries"]
    except client.exceptions.ClientError:
        return set()
    return {one["LogicalResourceId"].lower() for one in found if one["ResourceStatus"] != "DELETE_COMPLETE"}


def watched(clouds: tuple[Gate, Any]) -> list[dict[str, set[str]]]:
    """What runs, whenever a change of a stack is about to begin."""
    before, client = clouds
    seen: list[dict[str, set[str]]] = []

    def look(asked: Any) -> None:
        if asked.operation in {"ExecuteChangeSet", "DeleteStack"}:
            seen.append({target: running(client, target) for target in ("ecs", "lambda")})

    before.answer = look
    return seen


def test_a_service_is_gained_before_it_is_lost(project: Path, clouds: tuple[Gate, Any]) -> None:
    place(project, alerts="ecs", logs="ecs", oauth="lambda")
    deployed()
    place(project, alerts="ecs", logs="lambda", oauth="lambda")
    seen = watched(clouds)

    result = deployed("--json")

    seen.append({target: running(clouds[1], target) for target in ("ecs", "lambda")})
    assert seen == [
        {"ecs": {"alerts", "logs"}, "lambda": {"oauth"}},
        {"ecs": {"alerts", "logs"}, "lambda": {"logs", "oauth"}},
        {"ecs": {"alerts"}, "lambda": {"logs", "oauth"}},
    ]
    plans = json.loads(result.stdout)
    assert [plan["phases"] for plan in plans] == [1, 1]
    assert {(one["service"], one["origin"], one["to"]) for plan in plans for one in plan["moves"]} == {
        ("logs", "ecs", "lambda")
    }


def test_two_that_change_places_are_both_up_in_between(project: Path, clouds: tuple[Gate, Any], server: str) -> None:
    place(project, ingress="lambda", logs="ecs")
    deployed()
    place(project, b"newer", ingress="ecs", logs="lambda")
    seen = watched(clouds)
    planned = json.loads(deployed("--dry-run", "--json").stdout)
    assert seen == []

    deployed()

    seen.append({target: running(clouds[1], target) for target in ("ecs", "lambda")})
    assert seen == [
        {"ecs": {"logs"}, "lambda": {"ingress"}},
        {"ecs": {"logs", "ingress"}, "lambda": {"ingress"}},
        {"ecs": {"logs", "ingress"}, "lambda": {"logs"}},
        {"ecs": {"ingress"}, "lambda": {"logs"}},
    ]
    assert {plan["target"]: plan["phases"] for plan in planned} == {"ecs": 2, "lambda": 1}
    (ingress,) = {json.dumps(one) for plan in planned for one in plan["moves"] if one["service"] == "ingress"}
    assert "another address" in ingress
    assert "no resource changes" in deployed().stdout


def test_what_is_interrupted_between_the_phases_goes_on(project: Path, clouds: tuple[Gate, Any]) -> None:
    place(project, ingress="lambda", logs="ecs")
    deployed()
    place(project, ingress="ecs", logs="lambda")
    before, client = clouds
    refused = xml_refusal("ValidationError", "not now")
    before.answer = lambda asked: (
        refused if asked.operation == "ExecuteChangeSet" and running(client, "ecs") == {"ingress", "logs"} else None
    )
    assert run().exit_code != 0
    assert (running(client, "ecs"), running(client, "lambda")) == ({"ingress", "logs"}, {"ingress"})
    assert {row["stack"]: row["local"] for row in json.loads(CliRunner().invoke(status, ["--json"]).stdout)} == {
        "shop-production-ecs": "differs",
        "shop-production-lambda": "differs",
    }
    seen = watched(clouds)

    deployed()

    assert all("ingress" in now["ecs"] | now["lambda"] and "logs" in now["ecs"] | now["lambda"] for now in seen)
    assert (running(client, "ecs"), running(client, "lambda")) == ({"ingress"}, {"logs"})


def test_a_service_that_moves_to_a_machine_runs_on_until_it_is_said_to_run_there(
    project: Path, clouds: tuple[Gate, Any]
) -> None:
    place(project, alerts="lambda", logs="lambda")
    deployed()
    place(project, alerts="lambda", logs=LOCAL)

    first = deployed()

    assert "turnout service run logs" in first.output
    assert "turnout deploy --started logs" in first.output
    assert running(clouds[1], "lambda") == {"alerts", "logs"}
    deployed("--started", "logs")
    assert running(clouds[1], "lambda") == {"alerts"}


def test_a_stack_that_nothing_is_placed_on_any_more_goes_last(project: Path, clouds: tuple[Gate, Any]) -> None:
    place(project, logs="lambda")
    deployed()
    place(project, logs="ecs")  # the package of before is still in `dist`
    seen = watched(clouds)

    deployed()

    assert seen[-1] == {"ecs": {"logs"}, "lambda": {"logs"}}
    assert (running(clouds[1], "ecs"), running(clouds[1], "lambda")) == ({"logs"}, set())
    place(project, logs="lambda")
    deployed()
    assert (running(clouds[1], "ecs"), running(clouds[1], "lambda")) == (set(), {"logs"})


def test_one_target_alone_loses_nothing_that_no_other_has(project: Path, clouds: tuple[Gate, Any]) -> None:
    place(project, alerts="ecs", logs="ecs", oauth="lambda")
    deployed()
    place(project, alerts="ecs", logs="lambda", oauth="lambda")

    result = deployed("--target", "ecs")

    assert "without `--target`" in result.output
    assert running(clouds[1], "ecs") == {"alerts", "logs"}


def test_packages_that_are_older_than_the_settings_are_refused(project: Path, clouds: tuple[Gate, Any]) -> None:
    place(project, alerts="lambda", logs="lambda")
    deployed()
    place(project, alerts="lambda", logs=LOCAL)
    (project / "turnout.toml").write_text((project / "turnout.toml").read_text().replace('"local"', '"ecs"'))

    result = run()

    assert isinstance(result.exception, UserError)
    assert "logs: settings place it on 'ecs', and no package has it" in str(result.exception)
    with pytest.raises(UserError, match="packaged with logs"):
        wanted_of({"lambda": ("alerts", "logs")}, {"alerts": "lambda", "logs": "ecs"}.__getitem__)


def test_old_resources_keep_the_code_that_they_are_in() -> None:
    old = template(Logs=runs("logs", "lambda"), Alerts=runs("alerts", "lambda"))
    new = template(Alerts=runs("alerts", "lambda"), Oauth=runs("oauth", "lambda"))

    both, values = together(new, old, {"CodeKey": "old.zip"})

    code = {name: one["Properties"]["Value"] for name, one in both["Resources"].items()}
    assert code == {"Alerts": {"Ref": "CodeKey"}, "Oauth": {"Ref": "CodeKey"}, "Logs": {"Ref": "CodeKeyBefore"}}
    assert values == {"CodeKeyBefore": "old.zip"}
    again, more = together(template(Oauth=runs("oauth", "lambda")), both, {"CodeKey": "newer.zip"})
    code = {name: one["Properties"]["Value"]["Ref"] for name, one in again["Resources"].items()}
    assert code == {"Alerts": "CodeKeyBeforeBefore", "Oauth": "CodeKey", "Logs": "CodeKeyBefore"}
    assert more == {"CodeKeyBeforeBefore": "newer.zip"}


def test_what_holds_data_stays_with_what_it_refers_to() -> None:
    hints = queue(
        "hints", KmsMasterKeyId={"Ref": "Alias"}, RedrivePolicy={"deadLetterTargetArn": {"Fn::GetAtt": ["Dead", "Arn"]}}
    )
    alias = {"Type": "AWS::KMS::Alias", "Properties": {"AliasName": {"Fn::Sub": "alias/${DatabaseUrlSecret}"}}}
    old = template(Hints=hints, Dead=queue("dead"), Alias=alias, Logs=runs("logs", "lambda"))

    left = remains(old, holds_data)

    assert left is not None
    assert set(left["Resources"]) == {"Hints", "Dead", "Alias"}
    assert set(left["Parameters"]) == {"DatabaseUrlSecret"}
    assert remains(template(Logs=runs("logs", "lambda")), holds_data) is None


def by_target(placing: Placing) -> dict[str, frozenset[str]]:
    return {
        target: frozenset(name for name, at in placing.items() if at == target)
        for target in set(placing.values()) - {LOCAL}
    }


def nowhere(before: Placing, after: Placing, steps: Callable[..., Any]) -> set[str]:
    """Services that at some moment ran nowhere, though they were not to move to or from a machine."""
    now, wanted = {at: set(names) for at, names in by_target(before).items()}, by_target(after)
    moves = moves_of(by_target(before), wanted, after.__getitem__)
    lost = set()
    for step in steps(by_target(before), wanted, moves, frozenset()):
        now.setdefault(step.target, set()).update(wanted.get(step.target, ()))
        if step.loses:
            now[step.target] = set(wanted.get(step.target, ()))
        up = set().union(*now.values())
        lost |= {name for name in before if LOCAL not in {before[name], after[name]} and name not in up}
    assert {at: names for at, names in now.items() if names} == {at: set(names) for at, names in wanted.items()}
    return lost


def test_no_order_of_any_move_leaves_a_service_nowhere() -> None:
    chance = random.Random(1)
    places = [LOCAL, "ecs", "lambda", "third"]
    services = ["alerts", "ingress", "logs", "metadata", "oauth"]
    caught = 0

    def lose_first(*given: Any) -> list[Any]:
        return sorted(order(*given), key=lambda step: step.target)

    for _ in range(3000):
        before, after = ({name: chance.choice(places) for name in services} for _ in range(2))
        assert nowhere(before, after, order) == set()
        caught += bool(nowhere(before, after, lose_first))
    assert caught > 100, "by the targets' names alone some service would be nowhere"
