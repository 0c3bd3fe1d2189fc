"""The `state` connector."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from turnout.connectors import AfterCrash, Effect, StepError
from turnout.testing.connectors import ActionRunner
from turnout_connectors.state import connector


@pytest.fixture
async def state() -> AsyncIterator[ActionRunner]:
    async with ActionRunner(connector) as runner:
        yield runner


async def test_a_counter_begins_at_nought_and_stays_whole(state: ActionRunner) -> None:
    first = (await state.run("increment", {"key": "batches"})).load()
    second = (await state.run("increment", {"key": "batches", "by": 10**30})).load()

    assert first == {"value": 1}
    assert second == {"value": 10**30 + 1}
    assert isinstance(second["value"], int)


async def test_fractions_are_added_exactly(state: ActionRunner) -> None:
    for _ in range(3):
        total = (await state.run("increment", {"key": "sum", "by": 0.1})).load()

    assert total == {"value": 0.3}


async def test_what_was_set_is_found_until_it_is_deleted(state: ActionRunner) -> None:
    value = {"cursor": [1, None, "ä"]}

    await state.run("set", {"key": "k", "value": value})
    found = (await state.run("get", {"key": "k"})).load()
    deleted = [(await state.run("delete", {"key": "k"})).load() for _ in range(2)]
    missing = (await state.run("get", {"key": "k", "default": 7})).load()

    assert found == {"value": value, "found": True}
    assert deleted == [{"found": True}, {"found": False}]
    assert missing == {"value": 7, "found": False}


async def test_null_is_a_value_that_is_found(state: ActionRunner) -> None:
    await state.run("set", {"key": "k", "value": None})

    assert (await state.run("get", {"key": "k", "default": 7})).load() == {"value": None, "found": True}


async def test_the_instance_and_the_flow_have_values_of_their_own(state: ActionRunner) -> None:
    await state.run("set", {"key": "k", "value": 1})
    await state.run("set", {"key": "k", "value": 2, "scope": "flow"})

    assert (await state.run("get", {"key": "k"})).load()["value"] == 1
    assert (await state.run("get", {"key": "k", "scope": "flow"})).load()["value"] == 2


@pytest.mark.parametrize(
    ("action", "inputs"),
    [
        ("increment", {"key": "text"}),
        ("increment", {"key": "k", "by": "2"}),
        ("increment", {"key": "k", "by": True}),
        ("get", {"key": ""}),
        ("get", {"key": "k", "scope": "tenant"}),
    ],
)
async def test_what_cannot_be_done_is_refused(state: ActionRunner, action: str, inputs: Mapping[str, Any]) -> None:
    await state.run("set", {"key": "text", "value": "x"})

    with pytest.raises(StepError) as refused:
        await state.run(action, inputs)

    assert not refused.value.retryable


async def test_a_file_cannot_be_kept(state: ActionRunner) -> None:
    file = await state.files.create(b"x")

    with pytest.raises(StepError, match="file at /a"):
        await state.run("set", {"key": "k", "value": {"a": file}})


@pytest.mark.parametrize(
    ("action", "inputs", "effect", "after_crash"),
    [
        ("get", {}, Effect.READ, AfterCrash.NONE),
        ("set", {"value": 1}, Effect.EFFECT, AfterCrash.NATIVE),
        ("increment", {}, Effect.EFFECT, AfterCrash.NATIVE),
        ("delete", {}, Effect.EFFECT, AfterCrash.NATIVE),
    ],
)
def test_changes_are_made_once_by_the_store_itself(
    action: str, inputs: Mapping[str, Any], effect: Effect, after_crash: AfterCrash
) -> None:
    declared = ActionRunner(connector).effects(action, {"key": "k", **inputs})

    assert (declared.effect, declared.after_crash) == (effect, after_crash)
