"""Deploying where something goes wrong that moto cannot give: a server answers as the documentation of CloudFormation has it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3  # type: ignore[import-untyped]
import pytest
from turnout.errors import BackendError, UserError
from turnout_aws.deploying.artefacts import Bucket
from turnout_aws.deploying.building import find_builder
from turnout_aws.deploying.deployer import Deployer
from turnout_aws.deploying.images import Repository
from turnout_aws.deploying.packages import PackageFiles
from turnout_aws.deploying.stacks import Stacks

from .deploying_parts import NAME, queue, write_package
from .gate import Answer, Asked, Gate, gate, xml_refusal


class LeapingClock:
    """Who sleeps on it is awake at once, that much later."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> float:
        return 1_800_000_000.0 + sum(self.slept)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


ID = "arn:aws:cloudformation:eu-central-1:123456789012:stack/shop-production-lambda/1"


def answer(operation: str, inner: str) -> Answer:
    text = (
        f'<{operation}Response xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/">'
        f"<{operation}Result>{inner}</{operation}Result></{operation}Response>"
    )
    return Answer(status=200, body=text.encode(), headers={"content-type": "text/xml"})


def event(number: int, resource: str, state: str, reason: str = "") -> str:
    own = resource == NAME
    kind = "AWS::CloudFormation::Stack" if own else "AWS::SQS::Queue"
    return (
        f"<member><StackId>{ID}</StackId><EventId>{number}</EventId><StackName>{NAME}</StackName>"
        f"<LogicalResourceId>{resource}</LogicalResourceId><PhysicalResourceId>{ID if own else resource}</PhysicalResourceId>"
        f"<ResourceType>{kind}</ResourceType><ResourceStatus>{state}</ResourceStatus>"
        f"<ResourceStatusReason>{reason}</ResourceStatusReason><Timestamp>2026-01-01T00:00:00Z</Timestamp></member>"
    )


def stack_told(state: str) -> str:
    tags = "".join(
        f"<member><Key>turnout:{name}</Key><Value>{value}</Value></member>"
        for name, value in (("project", "shop"), ("environment", "production"), ("target", "lambda"))
    )
    return (
        f"<Stacks><member><StackId>{ID}</StackId><StackName>{NAME}</StackName><StackStatus>{state}</StackStatus>"
        f"<CreationTime>2026-01-01T00:00:00Z</CreationTime><Tags>{tags}</Tags></member></Stacks>"
    )


class Cloud:
    """Answers as CloudFormation's documentation has it: `states` one after another, the last one again and again; `events` in
    the order in which they come, one more at each question."""

    def __init__(self, *states: str, events: tuple[str, ...] = (), throttles: int = 0, refused: str = "") -> None:
        self.states = list(states)
        self.events = events
        self.executed = False
        self.shown = 0
        self.throttles = throttles
        self.refused = refused

    def __call__(self, asked: Asked) -> Answer:
        match asked.operation:
            case "DescribeStacks":
                state = self.states[0] if len(self.states) == 1 else self.states.pop(0)
                if state == "":
                    return xml_refusal("ValidationError", f"Stack with id {NAME} does not exist")
                return answer("DescribeStacks", stack_told(state))
            case "CreateChangeSet":
                return answer("CreateChangeSet", f"<Id>arn:change</Id><StackId>{ID}</StackId>")
            case "DescribeChangeSet":
                state = "FAILED" if self.refused else "CREATE_COMPLETE"
                reason = f"<StatusReason>{self.refused}</StatusReason>"
                return answer("DescribeChangeSet", f"<Status>{state}</Status>{reason}<Changes/>")
            case "GetTemplate":
                return answer("GetTemplate", "<TemplateBody>{}</TemplateBody>")
            case "DescribeStackEvents":
                if self.executed and self.throttles:
                    self.throttles -= 1
                    return xml_refusal("Throttling", "Rate exceeded")
                self.shown += self.executed
                newest_first = "".join(reversed(self.events[: self.shown]))
                return answer("DescribeStackEvents", f"<StackEvents>{newest_first}</StackEvents>")
            case "DeleteChangeSet":
                return answer(asked.operation, "")
            case "ExecuteChangeSet" | "DeleteStack":
                self.executed = True
                return answer(asked.operation, "")
        raise AssertionError(asked.operation)


@pytest.fixture
def before() -> Iterator[Gate]:
    with gate() as made:
        yield made


def deployer(url: str, told: list[str]) -> tuple[Deployer, LeapingClock]:
    clock = LeapingClock()
    config = boto3.session.Config(retries={"total_max_attempts": 1})
    client = boto3.client("cloudformation", endpoint_url=url, config=config)
    made = Deployer(
        stacks=Stacks(client, clock),
        clock=clock,
        bucket=lambda name: Bucket(None, name, "turnout", told.append),
        repository=lambda arn: Repository(None, arn, lambda: find_builder(told.append), told.append),
        bucket_name=None,
        parameters={},
        tell=told.append,
        under_way=lambda name: None,
    )
    return made, clock


PACKAGE = PackageFiles(
    project="shop",
    environment="production",
    target="lambda",
    template={"Resources": {"Hints": queue("hints")}},
    artefacts=(),
    digest="0" * 64,
)


async def test_what_was_taken_back_ends_with_the_resource_and_its_reason(before: Gate) -> None:
    told: list[str] = []
    before.answer = Cloud(
        "CREATE_COMPLETE",
        events=(
            event(1, NAME, "UPDATE_IN_PROGRESS"),
            event(2, "Hints", "UPDATE_FAILED", "the name is taken"),
            event(3, "Other", "UPDATE_FAILED", "Resource update cancelled"),
            event(4, NAME, "UPDATE_ROLLBACK_COMPLETE"),
        ),
    )
    made, clock = deployer(before.url, told)

    with pytest.raises(BackendError, match=r"UPDATE_ROLLBACK_COMPLETE: Hints .*the name is taken$"):
        await made.deploy(PACKAGE, dry_run=False)

    assert len(told) == 4
    assert f"{NAME}: Hints UPDATE_FAILED the name is taken" in told
    assert clock.slept == [3.0, 3.0, 3.0]


async def test_a_creation_that_failed_is_deleted_and_made_anew(before: Gate) -> None:
    told: list[str] = []
    before.answer = Cloud(
        "ROLLBACK_COMPLETE",
        events=(
            event(1, NAME, "DELETE_COMPLETE"),
            event(2, NAME, "DELETE_COMPLETE"),
            event(3, NAME, "CREATE_COMPLETE"),
        ),
    )
    made, _ = deployer(before.url, told)

    plan = await made.deploy(PACKAGE, dry_run=False)

    assert plan.anew
    assert [
        one.operation for one in before.asked if one.operation in {"DeleteStack", "CreateChangeSet", "ExecuteChangeSet"}
    ] == [
        "DeleteStack",
        "CreateChangeSet",
        "ExecuteChangeSet",
    ]
    assert before.of("CreateChangeSet")[0].form["ChangeSetType"] == "CREATE"
    assert "created anew" in told[0]


async def test_a_stack_in_progress_is_waited_for(before: Gate) -> None:
    told: list[str] = []
    before.answer = Cloud(
        "UPDATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "UPDATE_COMPLETE", events=(event(1, NAME, "UPDATE_COMPLETE"),)
    )
    made, clock = deployer(before.url, told)

    await made.deploy(PACKAGE, dry_run=False)

    assert told[0] == f"{NAME}: UPDATE_IN_PROGRESS: waiting until that has ended"
    assert clock.slept == [3.0, 3.0]


async def test_a_change_set_without_changes_is_success(before: Gate) -> None:
    before.answer = Cloud(
        "UPDATE_COMPLETE", refused="The submitted information didn't contain changes. Submit different."
    )
    made, _ = deployer(before.url, [])

    plan = await made.deploy(PACKAGE, dry_run=False)

    assert plan.changes == ()
    assert len(before.of("DeleteChangeSet")) == 1
    assert before.of("ExecuteChangeSet") == before.of("DeleteStack") == []


async def test_a_change_set_that_is_refused_says_why_and_leaves_no_stack(before: Gate) -> None:
    before.answer = Cloud("", refused="Template error: unresolved Ref")
    made, _ = deployer(before.url, [])

    with pytest.raises(BackendError, match="refuses the change: Template error: unresolved Ref"):
        await made.deploy(PACKAGE, dry_run=False)

    assert [len(before.of(name)) for name in ("DeleteChangeSet", "DeleteStack", "ExecuteChangeSet")] == [1, 1, 0]


async def test_throttling_while_it_waits_ends_nothing(before: Gate) -> None:
    before.answer = Cloud("UPDATE_COMPLETE", events=(event(1, NAME, "UPDATE_COMPLETE"),), throttles=3)
    made, _ = deployer(before.url, [])

    plan = await made.deploy(PACKAGE, dry_run=False)

    assert plan.stack == NAME
    assert len(before.of("ExecuteChangeSet")) == 1


async def test_who_may_not_is_told_so(before: Gate) -> None:
    before.answer = lambda asked: xml_refusal("AccessDenied", "not authorized: cloudformation:DescribeStacks", 403)
    made, _ = deployer(before.url, [])

    with pytest.raises(BackendError, match=r"cloudformation:DescribeStacks.*needs that permission"):
        await made.deploy(PACKAGE, dry_run=True)


@pytest.mark.parametrize("state", ["ROLLBACK_FAILED", "DELETE_FAILED", "UPDATE_ROLLBACK_FAILED"])
async def test_a_stack_that_is_stuck_says_what_to_do(before: Gate, state: str) -> None:
    before.answer = Cloud(state)
    made, _ = deployer(before.url, [])

    with pytest.raises(UserError, match=f"{state}: .*`"):
        await made.deploy(PACKAGE, dry_run=False)

    assert {one.operation for one in before.asked} == {"DescribeStacks"}


def test_an_interrupted_deployment_says_that_it_goes_on(project: Path, before: Gate) -> None:
    write_package(project, PACKAGE.template)
    told = json.loads((project / "dist/lambda/manifest.json").read_text())
    (project / "dist/lambda/manifest.json").write_text(json.dumps({**told, "artefacts": {}}))
    before.answer = Cloud("CREATE_COMPLETE", events=(event(1, NAME, "UPDATE_IN_PROGRESS"),))
    command = [sys.executable, "-c", "import sys; from turnout.cli.program import main; sys.exit(main())", "deploy"]
    started = subprocess.Popen(
        command,
        env={**os.environ, "AWS_ENDPOINT_URL": before.url},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stderr is not None
    assert "UPDATE_IN_PROGRESS" in started.stderr.readline()
    started.send_signal(signal.SIGINT)

    _, text = started.communicate(timeout=60)

    assert started.returncode == 130
    assert "CloudFormation goes on without you: `turnout status`" in text
    assert "Traceback" not in text
