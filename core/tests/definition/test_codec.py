"""An integration as bytes: canonical, portable, and read back as it was."""

from __future__ import annotations

from dataclasses import replace
from math import nan

import pytest
from turnout.definition.codec import dump, parse
from turnout.errors import DefinitionError
from turnout.model.definition import (
    ActionStep,
    Backoff,
    BranchArm,
    BranchStep,
    CallStep,
    CodeSettings,
    CodeStep,
    ConfigType,
    ConfigVariable,
    ConnectionSlot,
    Flow,
    Integration,
    LoopStep,
    OnCrash,
    ParallelStep,
    Position,
    Retry,
    StopStep,
    Trigger,
    WaitStep,
    walk,
)


def everything(directory: str = "/srv/project/orders") -> Integration:
    """One of each thing the model has."""
    at = Position(file=f"{directory}/integration.py", line=3, column=5)
    steps = (
        ActionStep(
            id="fetch", action="dropbox.download", connection="files", inputs={"z": 1, "a": [None, True, 10**30]}
        ),
        CodeStep(id="parse", source="export default () => 1", source_position=at, position=at),
        BranchStep(id="size", arms=(BranchArm(when="trigger", steps=(StopStep(id="end", error="no"),)), BranchArm())),
        LoopStep(
            id="each",
            over="${{ steps.parse }}",
            concurrency=4,
            collect="${{ item }}",
            steps=(WaitStep(id="pause", duration="5m"), WaitStep(id="answer", callback=True, timeout_s=60.0)),
        ),
        ParallelStep(id="both", arms={"right": (CallStep(id="other", flow="main"),), "left": ()}),
        CodeStep(
            id="last",
            file="last.js",
            retry=Retry(attempts=2, backoff=Backoff.LINEAR, errors=("http_5xx",)),
            on_error=(StopStep(id="sorry", output={"error": "${{ error.message }}"}),),
            on_crash=OnCrash.PARK,
        ),
    )
    return Integration(
        name="orders",
        version="1.2.0",
        config={"limit": ConfigVariable(name="limit", type=ConfigType.NUMBER, default=0, choices=(0, 1.5))},
        connections={"files": ConnectionSlot(name="files", connector="dropbox")},
        code=CodeSettings(dependencies="package-lock.json"),
        flows={"main": Flow(name="main", trigger=Trigger(type="webhook"), steps=steps, timeout_s=300.0)},
        directory=directory,
    )


def test_what_was_dumped_is_parsed_back_with_its_positions() -> None:
    integration = everything()

    parsed = parse(dump(integration))

    assert parsed == integration
    assert dump(parsed) == dump(integration)
    code = next(step for step in walk(parsed.flows["main"].steps) if step.id == "parse")
    assert isinstance(code, CodeStep)
    assert code.source_position == Position(file="integration.py", line=3, column=5)


def test_the_bytes_do_not_depend_on_where_the_project_lies() -> None:
    here, there = everything("/home/one/orders"), everything("/builds/2/orders")

    assert dump(here) == dump(there)
    assert b"/home/one" not in dump(here)


def test_a_position_outside_the_directory_keeps_only_the_name_of_its_file() -> None:
    integration = replace(everything("/home/one/orders"), directory="/elsewhere")

    assert b"/home" not in dump(integration)


def test_the_order_of_mappings_is_kept_because_it_is_seen() -> None:
    integration = everything()

    parsed = parse(dump(integration))

    both = next(step for step in walk(parsed.flows["main"].steps) if step.id == "both")
    assert isinstance(both, ParallelStep)
    assert list(both.arms) == ["right", "left"]


def test_false_and_zero_stay_apart_from_the_default_none() -> None:
    variables = {
        "off": ConfigVariable(name="off", type=ConfigType.BOOLEAN, default=False),
        "none": ConfigVariable(name="none", type=ConfigType.INTEGER, default=0),
    }

    parsed = parse(dump(Integration(name="x", config=variables)))

    assert parsed.config["off"].default is False
    assert parsed.config["none"].default == 0
    assert parsed.config["none"].default is not False


def test_without_positions_only_the_meaning_counts() -> None:
    moved = replace(everything(), directory="/elsewhere")

    assert dump(everything(), positions=False) == dump(moved, positions=False)
    assert b"integration.py" not in dump(moved, positions=False)


@pytest.mark.parametrize("value", [nan, object(), "\ud800", {1, 2}])
def test_a_value_that_is_not_json_is_refused(value: object) -> None:
    step = ActionStep(id="bad", action="http.request", inputs={"value": value})

    with pytest.raises(DefinitionError, match="not JSON"):
        dump(Integration(name="x", flows={"main": Flow(name="main", steps=(step,))}))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"{",
        b"\xff",
        b"{}",
        b'{"format":1}',
        b'{"format":1,"name":"x","flows":{"a":{"name":"a","steps":[{"kind":"dance","id":"x"}]}}}',
        b'{"format":1,"name":"x","flows":[]}',
        b'{"format":1,"name":"x","stranger":1}',
        b"[" * 100_000,
    ],
)
def test_bytes_of_another_form_are_refused(data: bytes) -> None:
    with pytest.raises(DefinitionError, match="not an integration"):
        parse(data)


def test_a_newer_format_is_refused_with_what_to_do() -> None:
    with pytest.raises(DefinitionError, match="reads format 1"):
        parse(b'{"format":2,"name":"x"}')
