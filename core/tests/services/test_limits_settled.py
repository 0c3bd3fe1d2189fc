"""What a flow's limits come to for one execution: which count together, what is done where an expression gives nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from turnout.engine.backends import InstanceSettings
from turnout.engine.content import Content
from turnout.errors import BackendError
from turnout.local.process_sandbox import ProcessSandbox
from turnout.model.execution import ExecutionInfo
from turnout.model.limits import (
    ConcurrencyLimit,
    DebounceLimit,
    Deduplication,
    ExecutionLimits,
    FlowLimits,
    OrderLimit,
    Per,
    RateLimit,
)
from turnout.model.payload import Encoded, File
from turnout.services.limits import Settled, common_id, settle
from turnout.values import Value

from core.tests.engine.laboratory import Laboratory, SteppingClock

ACCOUNT = "${{ trigger.body.account }}"


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Laboratory]:
    sandbox = ProcessSandbox(warm_floor=0)
    yield Laboratory(directory=tmp_path, sandbox=sandbox, clock=SteppingClock(), config={"parallel": 3, "name": "x"})
    await sandbox.close()


def info(*, tenant: str = "t", instance: str = "i", flow: str = "main") -> ExecutionInfo:
    return ExecutionInfo(
        id="e",
        tenant=tenant,
        instance=instance,
        integration="shop",
        version="1",
        bundle="b",
        flow=flow,
        settings="s",
        trigger=Encoded(json=b"null"),
        created_at=0.0,
    )


async def settled(lab: Laboratory, limits: FlowLimits, body: Any = None, **where: str) -> Settled:
    return await settle(lab.backends, info(**where), limits, Value({"body": body}))


async def key(lab: Laboratory, limit: ConcurrencyLimit, body: Any = None, **where: str) -> str:
    found = (await settled(lab, FlowLimits(concurrency=(limit,)), body, **where)).limits
    assert found is not None
    return found.concurrency[0].key


async def test_a_flow_without_limits_costs_nothing_and_has_none(lab: Laboratory) -> None:
    assert await settled(lab, FlowLimits()) == Settled()


async def test_each_limit_is_what_the_flow_says_of_it(lab: Laboratory) -> None:
    limits = FlowLimits(
        concurrency=(ConcurrencyLimit(most=5), ConcurrencyLimit(most="${{ config.parallel }}", per=Per.CUSTOMER)),
        rate=(RateLimit(most=10, window_s=60.0),),
        order=OrderLimit(key=ACCOUNT),
        debounce=DebounceLimit(wait_s=10.0, longest_s=60.0, key=ACCOUNT),
        deduplicate=Deduplication(key=ACCOUNT, window_s=7.0),
        priority="${{ trigger.body.urgent }}",
    )

    found = await settled(lab, limits, {"account": "a", "urgent": 9.0})

    assert found.notes == ()
    assert (found.same, found.unique_s) == ('"a"', 7.0)
    assert found.limits is not None
    assert found.limits.priority == 9
    assert [limit.most for limit in found.limits.concurrency] == [5, 3]
    assert [(limit.most, limit.window_s) for limit in found.limits.rates] == [(10, 60.0)]
    assert found.limits.debounce is not None
    assert (found.limits.debounce.wait_s, found.limits.debounce.longest_s) == (10.0, 60.0)
    keys = [found.limits.order, found.limits.debounce.key]
    keys += [limit.key for limit in found.limits.concurrency]
    keys += [limit.key for limit in found.limits.rates]
    assert len(set(keys)) == len(keys) == 5
    assert all(len(one) == 32 for one in keys)


async def test_what_a_person_asked_for_is_neither_debounced_nor_a_duplicate(lab: Laboratory) -> None:
    limits = FlowLimits(
        order=OrderLimit(), debounce=DebounceLimit(wait_s=1.0), deduplicate=Deduplication(key=ACCOUNT, window_s=7.0)
    )

    found = await settle(lab.backends, info(), limits, Value({"body": {"account": 1}}), by_hand=True)

    assert found.same == ""
    assert found.limits == ExecutionLimits(order=found.limits.order if found.limits else "")


@pytest.mark.parametrize(
    ("per", "other", "together"),
    [
        (Per.FLOW, {"flow": "other"}, False),
        (Per.FLOW, {"instance": "other"}, False),
        (Per.INSTANCE, {"flow": "other"}, True),
        (Per.INSTANCE, {"instance": "other"}, False),
        (Per.CUSTOMER, {"flow": "other", "instance": "other"}, True),
        (Per.CUSTOMER, {"tenant": "other"}, False),
    ],
)
async def test_per_says_which_executions_count_together(
    lab: Laboratory, per: Per, other: dict[str, str], together: bool
) -> None:
    for limit in (ConcurrencyLimit(most=1, per=per), ConcurrencyLimit(most=1, per=per, key=ACCOUNT)):
        same = await key(lab, limit, {"account": 1}) == await key(lab, limit, {"account": 1}, **other)

        assert same is together


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        (1, 1.0, True),
        (1, "1", False),
        (1, True, False),
        ("", None, False),
        ("null", None, False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ([1, 2], [2, 1], False),
        ("\ud800", "\ud800", True),
        (10**40, 10**40 + 1, False),
    ],
)
async def test_equal_values_count_together_and_types_count(
    lab: Laboratory, one: Any, other: Any, together: bool
) -> None:
    limit = ConcurrencyLimit(most=1, key=ACCOUNT)

    assert (await key(lab, limit, {"account": one}) == await key(lab, limit, {"account": other})) is together


async def test_files_are_equal_by_their_content(lab: Laboratory) -> None:
    limit = ConcurrencyLimit(most=1, key=ACCOUNT)
    content = Content(lab.backends.payloads, "t")
    files: list[File] = [
        await content.create(data, name=name) for data, name in ((b"x", "a"), (b"x", "b"), (b"y", "a"))
    ]

    one, same, other = [await key(lab, limit, {"account": file}) for file in files]

    assert one == same != other


async def test_a_key_may_read_a_files_content(lab: Laboratory) -> None:
    file = await Content(lab.backends.payloads, "t").create(b"x" * 20_000, content_type="text/plain")
    limit = ConcurrencyLimit(most=1, key="${{ trigger.body.text }}")

    assert await key(lab, limit, file) == await key(lab, limit, {"text": "x" * 20_000})


async def test_rates_of_different_windows_count_apart(lab: Laboratory) -> None:
    limits = FlowLimits(rate=(RateLimit(most=1, window_s=1.0), RateLimit(most=1, window_s=60.0)))

    found = await settled(lab, limits)

    assert found.limits is not None
    assert len({rate.key for rate in found.limits.rates}) == 2


async def test_keys_tell_nothing_without_the_projects_key(lab: Laboratory, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Laboratory(directory=tmp_path / "other", sandbox=lab.sandbox, clock=lab.clock)
    object.__setattr__(other.backends, "key", b"another project's")
    limit = ConcurrencyLimit(most=1, key=ACCOUNT)

    assert await key(lab, limit, {"account": 1}) != await key(other, limit, {"account": 1})


def test_the_id_of_what_is_the_same_is_of_its_flow_its_window_and_the_projects_key() -> None:
    same = Settled(same='"a"', unique_s=60.0)
    seen = replace(info(), created_at=59.0)

    id = common_id(b"k", info(), same)

    assert id == common_id(b"k", seen, same)
    others = [
        common_id(b"other", info(), same),
        common_id(b"k", info(flow="other"), same),
        common_id(b"k", info(), replace(same, same='"b"')),
        common_id(b"k", replace(info(), created_at=60.0), same),
    ]
    assert len({id, *others}) == 5
    assert common_id(b"k", replace(info(), created_at=60.0), same) == common_id(b"k", seen, same, ahead=1)
    assert sorted([id, others[-1]]) == [id, others[-1]]
    assert {len(one) for one in (id, *others)} == {26}


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("${{ trigger.body.account }}", "gave null"),
        ("${{ to_upper(trigger.body.number) }}", "cannot be evaluated ("),
        ("${{ callback_url('ask') }}", "cannot be evaluated ("),
    ],
)
async def test_without_a_value_limits_hold_for_all_such_and_nothing_is_lost(
    lab: Laboratory, expression: str, why: str
) -> None:
    limits = FlowLimits(
        concurrency=(ConcurrencyLimit(most=1, key=expression),),
        rate=(RateLimit(most=1, window_s=1.0, key=expression),),
        order=OrderLimit(key=expression),
        debounce=DebounceLimit(wait_s=1.0, key=expression),
        deduplicate=Deduplication(key=expression, window_s=1.0),
    )

    found = await settled(lab, limits, {"number": 1})
    again = await settled(lab, limits, {"number": 2})

    assert found.limits == again.limits
    assert found.limits is not None
    assert found.limits.order
    assert (found.limits.debounce, found.same) == (None, "")
    assert [note.split("`")[1] for note in found.notes] == ["concurrency", "rate", "order", "debounce", "deduplicate"]
    assert all(why in note for note in found.notes), found.notes


@pytest.mark.parametrize("written", ["${{ trigger.body }}", "${{ to_upper(trigger.body) }}"])
@pytest.mark.parametrize("body", [0, -1, 1.5, "7", None, True, 10**7, [1], {"a": 1}])
async def test_a_number_that_is_none_is_the_most_careful_one(lab: Laboratory, written: str, body: Any) -> None:
    limits = FlowLimits(concurrency=(ConcurrencyLimit(most=written),))

    found = await settled(lab, limits, body)

    assert found.limits is not None
    assert found.limits.concurrency[0].most == 1
    [note] = found.notes
    assert note.startswith("limits: `concurrency`: ${{")
    assert note.endswith("; 1 is taken")


async def test_a_priority_that_is_none_is_zero(lab: Laboratory) -> None:
    found = await settled(lab, FlowLimits(priority="${{ trigger.body }}"), "high")

    assert found.limits == ExecutionLimits()
    assert found.notes == (
        'limits: `priority`: ${{ trigger.body }} gave "high", not a whole number from -1000 to 1000; 0 is taken',
    )


async def test_what_was_recorded_is_read_where_no_trigger_is_given(lab: Laboratory) -> None:
    limits = FlowLimits(order=OrderLimit(key=ACCOUNT))
    body = Value({"body": {"account": "x" * 20_000}})
    packed = await Content(lab.backends.payloads, "t").pack(body)

    of_record = await settle(lab.backends, _with(packed), limits)

    assert of_record == await settle(lab.backends, _with(packed), limits, body)
    assert of_record.notes == ()


async def test_a_trigger_that_retention_removed_stops_nothing(lab: Laboratory) -> None:
    gone = Encoded(json=b"", stored=File(sha256="0" * 64, size=20_000))

    found = await settle(lab.backends, _with(gone), FlowLimits(order=OrderLimit(key=ACCOUNT)))

    assert found.limits is not None
    assert found.limits.order
    assert "cannot be evaluated (PayloadMissing)" in found.notes[0]


async def test_a_store_that_does_not_answer_is_the_senders_to_know(lab: Laboratory) -> None:
    class Away:
        async def settings(self, tenant: str, digest: str) -> InstanceSettings:
            raise BackendError("the store is away")

        async def fields(self, tenant: str, settings: InstanceSettings, slot: str) -> None:
            raise BackendError("the store is away")

    backends = replace(lab.backends, instances=Away())
    limits = FlowLimits(deduplicate=Deduplication(key=ACCOUNT, window_s=7.0))

    with pytest.raises(BackendError, match="the store is away"):
        await settle(backends, info(), limits, Value({"body": {"account": 1}}))


def _with(trigger: Encoded) -> ExecutionInfo:
    return replace(info(), trigger=trigger)
