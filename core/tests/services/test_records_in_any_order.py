"""Events of real executions, in any order, late and repeated: the records are what they would be had each come once, in order."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from turnout.connectors import StepError
from turnout.interfaces.journal import JournalEntry
from turnout.interfaces.records import RecordBatch, RecordStore
from turnout.local.memory_journal import MemoryJournal
from turnout.local.memory_records import MemoryRecords
from turnout.local.sqlite_records import SQLiteRecords
from turnout.services.metadata import Metadata
from turnout.testing.clock import ManualClock
from turnout.testing.record_events import seen

from core.tests.engine.laboratory import Died
from core.tests.local.office import Office, office_in
from core.tests.local.test_operations import CALLS_PARKING, LOOP, THREE, fail
from core.tests.local.test_resumed_unread import CALLS, office_of

RETRIES = """
  main:
    trigger: {webhook: {}}
    steps:
      - id: each
        retry: {attempts: 2, delay: 0s}
        loop: {over: [1, 2], steps: [{id: put, action: world.put, with: {value: "${{ item }}"}}]}
      - {id: code, code: "export default () => { console.log('one'); console.log('two'); return 1 }"}
"""
_numbers = itertools.count()


async def told(office: Office) -> list[JournalEntry]:
    return list(await office.platform.stores.journal.entries(after=0, limit=10_000))


async def story(directory: Path) -> list[JournalEntry]:
    """What a day brings: failures, retries, resumes, a crash, a decision, calls."""
    async with office_of(directory, held=True) as (office, _):
        for flows, action, after in ((THREE, "keyed", 0), (LOOP, "put", 2), (CALLS, "keyed", 0)):
            fail(office, action, after=after)
            id = await office.accept(flows, body="b")
            await office.turn(id)
            await office.platform.operations.resume(id)
            await office.turn(id)
        office.world.failures["put"] = [None, StepError("down", kind="down")]
        await office.turn(await office.accept(RETRIES))
        office.world.failures["note"] = [Died()]
        id = await office.accept(CALLS_PARKING)
        await office.die(id)
        await office.turn(id)
        return await told(office)


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[JournalEntry]:
    return asyncio.run(story(tmp_path_factory.mktemp("story")))


async def in_order(events: Sequence[JournalEntry]) -> MemoryRecords:
    """As the stream brings them."""
    journal, records = MemoryJournal(), MemoryRecords()
    journal._entries = {entry.position: entry for entry in events}
    await Metadata(journal, records, ManualClock()).catch_up()
    return records


async def same(store: RecordStore, events: Sequence[JournalEntry]) -> None:
    reference = await in_order(events)
    for id in {entry.execution for entry in events}:
        assert await seen(store, id) == await seen(reference, id), id
    assert await store.references() == await reference.references()


def metadata(store: RecordStore) -> Metadata:
    return Metadata(MemoryJournal(), store, ManualClock())


def test_the_story_has_what_is_hard(events: list[JournalEntry]) -> None:
    kinds = {entry.row.kind for entry in events}

    assert kinds >= {"accepted", "began", "step", "attempted", "resumed", "intended", "log", "isolated", "ended"}


@st.composite
def delivered(draw: Any, events: Sequence[JournalEntry]) -> list[list[JournalEntry]]:
    """Every event at least once, in calls of any size."""
    order = draw(st.permutations(range(len(events))))
    twice = draw(st.lists(st.sampled_from(range(len(events))), max_size=len(events)))
    places = draw(st.lists(st.integers(0, len(events)), min_size=len(twice), max_size=len(twice)))
    for number, place in zip(twice, places, strict=True):
        order.insert(place, number)
    cuts = sorted(draw(st.sets(st.integers(1, len(order)), max_size=20)))
    return [[events[number] for number in order[a:b]] for a, b in itertools.pairwise([0, *cuts, len(order)])]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_order_and_any_repeats_leave_the_same_records(
    kind: str, data: Any, events: list[JournalEntry], tmp_path: Path
) -> None:
    given = data.draw(delivered(events))

    async def run() -> None:
        store: RecordStore = MemoryRecords() if kind == "memory" else SQLiteRecords(tmp_path / f"{next(_numbers)}.db")
        service = metadata(store)
        for call in given:
            await service.record(call)
        await same(store, events)
        await store.close()

    asyncio.run(run())


async def test_several_processes_that_record_at_once_leave_the_same_records(
    events: list[JournalEntry], tmp_path: Path
) -> None:
    stores = [SQLiteRecords(tmp_path / "records.db") for _ in range(3)]

    async def consume(number: int) -> None:
        service = metadata(stores[number])
        mine = [*events[number::3], *events[(number + 1) % 3 :: 3]][:: -1 if number else 1]
        for first in range(0, len(mine), 3):
            await service.record(mine[first : first + 3])

    await asyncio.gather(*(consume(number) for number in range(3)))

    await same(stores[0], events)
    for store in stores:
        await store.close()


async def test_what_the_stream_began_a_queue_goes_on_with(events: list[JournalEntry], tmp_path: Path) -> None:
    """The place of the metadata service is changed while executions run; the queue's first events repeat the stream's last."""
    half = len(events) // 2
    journal, records = MemoryJournal(), MemoryRecords()
    journal._entries = {entry.position: entry for entry in events[:half]}
    service = Metadata(journal, records, ManualClock())
    await service.catch_up()

    for first in range(half - 6, len(events), 2):
        await service.record(events[first : first + 2])
        await service.record(events[max(half - 6, first - 2) : first])

    await same(records, events)


async def test_many_executions_are_written_in_one_transaction(events: list[JournalEntry], tmp_path: Path) -> None:
    writes = 0

    class Counted(MemoryRecords):
        async def apply(self, batch: RecordBatch) -> bool:
            nonlocal writes
            writes += 1
            return await super().apply(batch)

    async with office_in(tmp_path) as office:
        for _ in range(100):
            await office.accept(THREE, body="b")
        journal = office.platform.stores.journal
        await Metadata(journal, store := Counted(), ManualClock()).catch_up()

    assert (writes, len(store._executions)) == (1, 100)
