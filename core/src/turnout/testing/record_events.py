"""The promises of `RecordStore.keep` and `record`, one test each: `turnout.testing.records` has them in its suite.

`recorded` makes records of events that come as they like, as the metadata service does; a store's own tests may use it too.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from turnout.codec import encode_event
from turnout.interfaces.journal import JournalEntry, Row
from turnout.interfaces.records import KeptEvents, RecordBatch, RecordStore
from turnout.model.events import Accepted, Began, Ended, Event, Logged, Resumed, StepEnded
from turnout.model.execution import ExecutionInfo, ExecutionRecord, LogLine, Status, StepStatus
from turnout.services.metadata import batch_of
from turnout.testing.service_events import sample_events

__all__ = ["KeptEventsContract", "entries_of", "recorded", "seen"]

_TIMES: Final = 12


def entries_of(id: str, *events: Event, first: int = 1) -> list[JournalEntry]:
    """Events of an execution as a journal has them, at positions from `first` on."""
    return [
        JournalEntry(position=position, execution=id, row=Row(*encode_event(event)))
        for position, event in enumerate(events, start=first)
    ]


async def recorded(store: RecordStore, entries: Sequence[JournalEntry]) -> None:
    """Keep events, and bring their records up to date."""
    while kept := await store.keep(entries):
        if await store.record(kept, _batch(kept)):
            return


async def seen(store: RecordStore, id: str) -> tuple[ExecutionRecord | None, Sequence[tuple[int, LogLine]]]:
    """All that people see of an execution."""
    return await store.get(id), await store.logs(id)


def _batch(kept: Sequence[KeptEvents]) -> RecordBatch:
    return batch_of([entry for one in kept for entry in one.entries])


class KeptEventsContract:
    """Each test is one sentence of the interface."""

    async def test_what_a_record_lacks_is_kept_once_in_order(self, store: RecordStore) -> None:
        first, second = self._told(3)
        given = [*reversed(first), *second, *first]

        kept = {one.execution: one for one in await store.keep(given)}
        again = {one.execution: one for one in await store.keep([first[0], second[0]])}

        assert kept == again
        assert [len(one.entries) for one in kept.values()] == [one.kept for one in kept.values()]
        assert kept["e1"] == KeptEvents(
            execution="e1", entries=tuple(first), lacking=frozenset(entry.position for entry in first), kept=len(first)
        )

    async def test_what_is_recorded_is_lacking_no_more(self, store: RecordStore) -> None:
        first, second = self._told()

        await recorded(store, [*first, *second])

        assert list(await store.keep(first)) == []
        assert list(await store.keep([*second, *first])) == []

    async def test_what_follows_comes_without_what_was_before(self, store: RecordStore) -> None:
        first, _ = self._told()
        await recorded(store, first[:4])

        [kept] = await store.keep(first[2:6])

        assert (kept.entries, kept.anew, kept.kept) == (tuple(first[4:6]), False, 6)
        assert kept.lacking == {entry.position for entry in first[4:6]}

    async def test_where_one_comes_late_all_come_again(self, store: RecordStore) -> None:
        first, _ = self._told()
        await recorded(store, [*first[:2], *first[3:6]])

        [kept] = await store.keep([first[2]])

        assert (kept.entries, kept.anew, kept.kept) == (tuple(first[:6]), True, 6)
        assert kept.lacking == {first[2].position}

    async def test_what_the_stream_has_brought_is_left_out(self, store: RecordStore) -> None:
        first, _ = self._told()
        await store.apply(replace(batch_of(first), position=first[-1].position))

        assert list(await store.keep(first)) == []

    async def test_recording_leaves_the_position_as_it_is(self, store: RecordStore) -> None:
        await recorded(store, self._told()[0])

        assert await store.position() == 0

    async def test_a_batch_made_of_fewer_events_than_there_are_is_refused(self, store: RecordStore) -> None:
        first, _ = self._told()
        kept = await store.keep(first[:3])
        await store.keep(first[:4])

        assert await store.record(kept, _batch(kept)) is False

        assert await seen(store, "e1") == (None, [])

    async def test_a_batch_is_recorded_once(self, store: RecordStore) -> None:
        kept = await store.keep(self._told()[0])
        assert await store.record(kept, _batch(kept)) is True
        before = await seen(store, "e1")

        assert await store.record(kept, _batch(kept)) is False

        assert await seen(store, "e1") == before

    async def test_what_cannot_be_written_changes_nothing(self, store: RecordStore) -> None:
        kept = await store.keep(self._told()[0])
        broken: Any = replace(_batch(kept), steps=(("e1", replace(_batch(kept).steps[0][1], output=object())),))  # type: ignore[arg-type]  # wrong on purpose

        try:
            await store.record(kept, broken)
        except Exception:
            assert await seen(store, "e1") == (None, [])
        else:
            raise AssertionError("it was written")
        assert list(await store.keep(self._told()[0])) == list(kept)

    async def test_events_in_any_order_and_number_leave_the_record_that_they_leave_in_order(
        self, store: RecordStore
    ) -> None:
        for seed in range(_TIMES):
            chance, told = random.Random(seed), self._long(f"e{seed}")  # noqa: S311 - a test's
            for entry in self._long(f"in-order-{seed}"):
                await recorded(store, [entry])
            given = chance.sample(told, len(told)) + chance.choices(told, k=len(told) // 2)
            if seed % 3 == 0:
                chance.shuffle(given)

            while given:
                size = chance.randint(1, 6)
                await recorded(store, given[:size])
                given = given[size:]

            record, lines = await seen(store, f"e{seed}")
            reference, expected = await seen(store, f"in-order-{seed}")
            assert record is not None
            assert reference is not None
            assert record == replace(reference, info=record.info)
            assert record.info == replace(reference.info, id=f"e{seed}")
            assert lines == expected
            assert await store.references() == set()

    async def test_what_comes_before_its_beginning_waits_for_it(self, store: RecordStore) -> None:
        first, _ = self._told()

        await recorded(store, first[1:])
        assert await seen(store, "e1") == (None, [])
        await recorded(store, first[:1])

        record, lines = await seen(store, "e1")
        assert record is not None
        assert record.status is Status.FAILED
        assert len(lines) == 2

    async def test_events_of_a_pruned_execution_are_forgotten_and_bring_nothing_back(self, store: RecordStore) -> None:
        first, second = self._told()
        await recorded(store, first)
        await recorded(store, second)
        assert sorted(await store.prune(ended_before=1e12)) == ["e1", "e2"]

        lacking = await store.keep(first[3:4])
        assert [(one.entries, one.kept, one.anew) for one in lacking] == [(tuple(first[3:4]), 1, False)]
        await recorded(store, first[2:])

        assert await seen(store, "e1") == (None, [])
        assert await store.references() == set()

    async def test_the_start_is_that_of_the_first_worker(self, store: RecordStore) -> None:
        told = self._told()[0][0]
        began = [Began(at=at, worker="w", token=1, attempt=1) for at in (5.0, 7.0)]
        for entry in (told, *entries_of("e1", *began, first=2)):
            await store.apply(batch_of([entry]))

        record = await store.get("e1")

        assert record is not None
        assert (record.started_at, record.status) == (5.0, Status.RUNNING)

    def _told(self, most: int = 99) -> tuple[list[JournalEntry], list[JournalEntry]]:
        """Two executions that saw every kind of event."""
        from turnout.testing.records import execution

        first = sample_events(execution("e1"))[:most]
        second = sample_events(execution("e2", tenant="globex"))[:most]
        return entries_of("e1", *first), entries_of("e2", *second, first=len(first) + 1)

    def _long(self, id: str) -> list[JournalEntry]:
        """One that failed, was put back, and ended well."""
        from turnout.testing.records import execution

        info: ExecutionInfo = execution(id)
        events = sample_events(info)
        at = info.created_at + 100
        later = (
            Resumed(at=at, drop=("post",)),
            Accepted(at=info.created_at, info=replace(info, deadline=at), again=True),
            Began(at=at + 1, worker="v", token=9, attempt=2),
            Logged(at=at + 1, level="info", message="again", path="post"),
            StepEnded(
                at=at + 2,
                path="post",
                kind="action",
                status=StepStatus.SUCCEEDED,
                started_at=at + 1,
                duration_ms=1000.0,
                attempts=2,
            ),
            Ended(at=at + 3, status=Status.SUCCEEDED),
        )
        return entries_of(id, *events, *later)
