"""Record stores that each break a promise, and the tests of the contract that must notice it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from turnout.interfaces.journal import JournalEntry
from turnout.interfaces.records import ExecutionChange, ExecutionQuery, KeptEvents, RecordBatch
from turnout.local.memory_records import MemoryRecords
from turnout.model.execution import ExecutionRecord, LogLine, Status
from turnout.testing.records import RecordStoreContract, execution

from .contract_runs import run_contract


class StandsStill(MemoryRecords):
    async def position(self) -> int:
        return 0


class AppliesAgain(MemoryRecords):
    async def apply(self, batch: RecordBatch) -> bool:
        new = batch.position > self._position
        self._position = 0
        await super().apply(batch)
        return new


class AppliesByHalves(MemoryRecords):
    async def apply(self, batch: RecordBatch) -> bool:
        for change in batch.executions:
            await super().apply(RecordBatch(position=self._position + 1, executions=(change,)))
        return await super().apply(batch)


class LosesErrors(MemoryRecords):
    async def get(self, id: str) -> ExecutionRecord | None:
        record = await super().get(id)
        return record and replace(record, error=None)


class InventsExecutions(MemoryRecords):
    async def get(self, id: str) -> ExecutionRecord | None:
        return await super().get(id) or ExecutionRecord(info=execution(id), status=Status.QUEUED)


class ForgetsWhatIsLeftOut(MemoryRecords):
    def _change(self, change: ExecutionChange) -> None:
        super()._change(change)
        if change.id in self._executions:
            held = self._executions[change.id]
            held.record = replace(held.record, error=change.error)


class RewritesTheInfo(MemoryRecords):
    def _change(self, change: ExecutionChange) -> None:
        super()._change(change)
        if change.info is not None:
            held = self._executions[change.id]
            held.record = replace(held.record, info=change.info)


class ReopensAfterwards(MemoryRecords):
    def _change(self, change: ExecutionChange) -> None:
        super()._change(replace(change, reopened=False))
        if change.reopened:
            super()._change(replace(change, status=None, output=None, error=None))


class DropsByPrefix(MemoryRecords):
    def _change(self, change: ExecutionChange) -> None:
        super()._change(change)
        for path in change.dropped:
            held = self._executions[change.id]
            held.steps = {name: step for name, step in held.steps.items() if not name.startswith(path.rstrip("]"))}


class DropsOneAlone(MemoryRecords):
    def _change(self, change: ExecutionChange) -> None:
        super()._change(replace(change, dropped=()))
        for path in change.dropped:
            self._executions[change.id].steps.pop(path, None)


class KeepsTheLastSandbox(MemoryRecords):
    def _change(self, change: ExecutionChange) -> None:
        super()._change(change)
        if change.sandboxes:
            held = self._executions[change.id]
            held.record = replace(held.record, sandboxes=change.sandboxes)


class FindsSandboxesToo(MemoryRecords):
    async def search(self, query: ExecutionQuery) -> Sequence[ExecutionRecord]:
        return [self._executions[record.info.id].record for record in await super().search(query)]


class KeepsEverySandbox(MemoryRecords):
    def _change(self, change: ExecutionChange) -> None:
        held = self._executions.get(change.id)
        before = () if held is None else held.record.sandboxes
        super()._change(change)
        held = self._executions[change.id]
        held.record = replace(held.record, sandboxes=(*before, *change.sandboxes))


class KeepsTheFirstStep(MemoryRecords):
    async def apply(self, batch: RecordBatch) -> bool:
        new = [
            (id, step) for id, step in batch.steps if step.path not in getattr(self._executions.get(id), "steps", {})
        ]
        return await super().apply(replace(batch, steps=tuple(new)))


class ForgetsTheOrder(MemoryRecords):
    async def get(self, id: str) -> ExecutionRecord | None:
        record = await super().get(id)
        return record and replace(record, steps=record.steps[::-1])


class RaisesForStrangers(MemoryRecords):
    async def apply(self, batch: RecordBatch) -> bool:
        assert all(id in self._executions or batch.executions for id, _ in batch.steps)
        assert all(change.info or change.id in self._executions for change in batch.executions)
        return await super().apply(batch)


class SearchesWithout(MemoryRecords):
    """Ignores one filter."""

    ignored = ""

    async def search(self, query: ExecutionQuery) -> Sequence[ExecutionRecord]:
        return await super().search(replace(query, **{self.ignored: getattr(ExecutionQuery(), self.ignored)}))


IGNORING = [
    type(f"Ignores_{name}", (SearchesWithout,), {"ignored": name})
    for name in ("tenant", "instance", "integration", "flow", "statuses", "since", "until", "text", "parent", "before")
]


class SearchesWithCase(MemoryRecords):
    async def search(self, query: ExecutionQuery) -> Sequence[ExecutionRecord]:
        found = await super().search(query)
        return [record for record in found if query.text in (record.error.message if record.error else "")]


class IncludesTheEnd(MemoryRecords):
    async def search(self, query: ExecutionQuery) -> Sequence[ExecutionRecord]:
        return await super().search(replace(query, until=query.until and query.until + 0.1))


class FindsStepsToo(MemoryRecords):
    async def search(self, query: ExecutionQuery) -> Sequence[ExecutionRecord]:
        return [whole for record in await super().search(query) if (whole := await self.get(record.info.id))]


class PagesByTime(MemoryRecords):
    async def search(self, query: ExecutionQuery) -> Sequence[ExecutionRecord]:
        if query.before:
            last = self._executions[query.before].record.info.created_at if query.before in self._executions else 0.0
            query = replace(query, before="", until=last)
        return await super().search(query)


class NumbersByPage(MemoryRecords):
    async def logs(self, id: str, *, after: int = 0, limit: int = 1000) -> Sequence[tuple[int, LogLine]]:
        return [(number, line) for number, (_, line) in enumerate(await super().logs(id, after=after, limit=limit), 1)]


class PrunesWhatEndsNow(MemoryRecords):
    async def prune(self, *, ended_before: float | None = None, keep_bytes: int | None = None) -> Sequence[str]:
        return await super().prune(ended_before=ended_before and ended_before + 1, keep_bytes=keep_bytes)


class KeepsLogs(MemoryRecords):
    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, list[LogLine]] = {}

    async def logs(self, id: str, *, after: int = 0, limit: int = 1000) -> Sequence[tuple[int, LogLine]]:
        self.kept.update({key: held.logs for key, held in self._executions.items()})
        return list(enumerate(self.kept.get(id, []), 1))

    async def prune(self, *, ended_before: float | None = None, keep_bytes: int | None = None) -> Sequence[str]:
        await self.logs("")
        return await super().prune(ended_before=ended_before, keep_bytes=keep_bytes)


class PrunesTheNewest(MemoryRecords):
    async def prune(self, *, ended_before: float | None = None, keep_bytes: int | None = None) -> Sequence[str]:
        self._order.sort(reverse=True)
        return await super().prune(ended_before=ended_before, keep_bytes=keep_bytes)

    def _remove(self, id: str) -> None:
        self._order.remove(self._place(id))
        del self._executions[id]


class NeverShrinks(MemoryRecords):
    async def size_bytes(self) -> int:
        self.largest = max(getattr(self, "largest", 0), await super().size_bytes())
        return self.largest


class PrunesWhatRuns(MemoryRecords):
    async def prune(self, *, ended_before: float | None = None, keep_bytes: int | None = None) -> Sequence[str]:
        running = [id for id, held in self._executions.items() if held.record.ended_at is None]
        if keep_bytes == 0:
            self._remove(running[0])
        return await super().prune(ended_before=ended_before, keep_bytes=keep_bytes)


class PrunesUnasked(MemoryRecords):
    async def prune(self, *, ended_before: float | None = None, keep_bytes: int | None = None) -> Sequence[str]:
        return await super().prune(ended_before=ended_before or 1e12, keep_bytes=keep_bytes)


class RemovesWhatHasEnded(MemoryRecords):
    async def remove(self, ids: Sequence[str]) -> None:
        await super().remove([id for id in ids if id in self._executions and self._executions[id].record.status.final])


class RemovesTheRest(MemoryRecords):
    async def remove(self, ids: Sequence[str]) -> None:
        await super().remove([*ids, "late"])


class BringsBackHalves(MemoryRecords):
    async def get(self, id: str) -> ExecutionRecord | None:
        half: Any = "half" if self._position == 9 else None
        return await super().get(id) or half


class ForgetsDetails(MemoryRecords):
    async def references(self) -> set[tuple[str, str]]:
        return {(tenant, sha256) for tenant, sha256 in await super().references() if not sha256.startswith("3")}


class ForgetsTenants(MemoryRecords):
    async def references(self) -> set[tuple[str, str]]:
        return {("acme", sha256) for _, sha256 in await super().references()}


class CutsLoops(MemoryRecords):
    async def get(self, id: str) -> ExecutionRecord | None:
        record = await super().get(id)
        return record and replace(record, steps=record.steps[:10_000])


class ShowsHalfBatches(MemoryRecords):
    async def get(self, id: str) -> ExecutionRecord | None:
        record = await super().get(id)
        return record and replace(record, steps=record.steps[:40])


class KeepsTwice(MemoryRecords):
    """It counts what comes twice as two."""

    async def keep(self, entries: Sequence[JournalEntry]) -> Sequence[KeptEvents]:
        return [replace(one, kept=one.kept + len(entries)) for one in await super().keep(entries)]


class KeepsAsTheyCame(MemoryRecords):
    async def keep(self, entries: Sequence[JournalEntry]) -> Sequence[KeptEvents]:
        return [replace(one, entries=one.entries[::-1]) for one in await super().keep(entries)]


class ForgetsWhatItRecorded(MemoryRecords):
    async def record(self, kept: Sequence[KeptEvents], batch: RecordBatch) -> bool:
        done = await super().record(kept, batch)
        for one in kept:
            self._events[one.execution].recorded.clear()
        return done


class GivesAllAgain(MemoryRecords):
    async def keep(self, entries: Sequence[JournalEntry]) -> Sequence[KeptEvents]:
        return [
            replace(one, entries=tuple(dict(sorted(self._events[one.execution].entries.items())).values()))
            for one in await super().keep(entries)
        ]


class MakesNothingAnew(MemoryRecords):
    async def keep(self, entries: Sequence[JournalEntry]) -> Sequence[KeptEvents]:
        return [
            replace(one, anew=False, entries=tuple(entry for entry in one.entries if entry.position in one.lacking))
            for one in await super().keep(entries)
        ]


class KeepsWhatTheStreamBrought(MemoryRecords):
    async def keep(self, entries: Sequence[JournalEntry]) -> Sequence[KeptEvents]:
        position, self._position = self._position, 0
        try:
            return await super().keep(entries)
        finally:
            self._position = position


class MovesThePosition(MemoryRecords):
    async def record(self, kept: Sequence[KeptEvents], batch: RecordBatch) -> bool:
        self._position = max(self._position, batch.position)
        return await super().record(kept, batch)


class RecordsWhatIsOld(MemoryRecords):
    async def record(self, kept: Sequence[KeptEvents], batch: RecordBatch) -> bool:
        now = [
            replace(
                one,
                kept=len(self._events[one.execution].entries),
                lacking=frozenset(self._events[one.execution].entries.keys() - self._events[one.execution].recorded),
            )
            for one in kept
        ]
        return await super().record(now, batch)


class NotesWhatFails(MemoryRecords):
    async def record(self, kept: Sequence[KeptEvents], batch: RecordBatch) -> bool:
        for one in kept:
            self._events[one.execution].recorded |= one.lacking
        return await super().record([], batch)


class LeavesTheOldLines(MemoryRecords):
    def _remove(self, id: str) -> None:
        logs = self._executions[id].logs
        super()._remove(id)
        self._left = {**getattr(self, "_left", {}), id: logs}

    async def record(self, kept: Sequence[KeptEvents], batch: RecordBatch) -> bool:
        done = await super().record(kept, batch)
        for id, lines in getattr(self, "_left", {}).items():
            self._executions[id].logs[:0] = lines
        self._left = {}
        return done


class InventsWhatHasNotBegun(MemoryRecords):
    async def record(self, kept: Sequence[KeptEvents], batch: RecordBatch) -> bool:
        told = tuple(
            ExecutionChange(id=one.execution, info=execution(one.execution))
            for one in kept
            if one.execution not in self._executions
        )
        return await super().record(kept, replace(batch, executions=(*told, *batch.executions)))


class KeepsEventsOfThePruned(MemoryRecords):
    def _forget_events(self, removed: Sequence[str]) -> None:
        """Not at all."""


class StartsAgain(MemoryRecords):
    def _change(self, change: ExecutionChange) -> None:
        if change.started_at is not None and change.id in self._executions:
            held = self._executions[change.id]
            held.record = replace(held.record, started_at=None)
        super()._change(change)


CAUGHT = {
    StandsStill: ["the_position_is_that_of_the_last_batch"],
    AppliesAgain: ["a_batch_that_is_not_above_the_last_changes_nothing"],
    AppliesByHalves: ["a_batch_is_applied_as_a_whole_or_not_at_all"],
    LosesErrors: ["an_execution_comes_back_with_everything_said_of_it"],
    InventsExecutions: ["an_unknown_execution_is_none"],
    ForgetsWhatIsLeftOut: ["what_a_change_leaves_out_is_kept"],
    RewritesTheInfo: ["what_an_execution_is_never_changes"],
    ReopensAfterwards: ["reopening_clears_the_end_before_the_rest_is_applied"],
    DropsByPrefix: ["dropped_steps_are_removed_with_all_below", "dropping_one_item_keeps_the_others"],
    DropsOneAlone: ["dropped_steps_are_removed_with_all_below"],
    KeepsTheLastSandbox: ["sandboxes_are_added_and_stay"],
    FindsSandboxesToo: ["sandboxes_are_added_and_stay"],
    KeepsEverySandbox: ["no_more_than_the_first_sandboxes_are_kept"],
    KeepsTheFirstStep: ["a_steps_record_replaces_the_earlier_one_of_its_path"],
    ForgetsTheOrder: ["steps_come_in_the_order_of_their_start"],
    RaisesForStrangers: ["what_is_said_of_unknown_executions_is_left_out"],
    **{broken: ["filters_hold_all_together"] for broken in IGNORING},
    SearchesWithCase: ["filters_hold_all_together"],
    IncludesTheEnd: ["filters_hold_all_together"],
    FindsStepsToo: ["found_executions_come_without_their_steps"],
    PagesByTime: ["pages_follow_each_other_without_gap_or_repeat"],
    NumbersByPage: ["logs_come_in_order_with_rising_numbers"],
    PrunesWhatEndsNow: ["pruning_by_age_removes_what_ended_before"],
    KeepsLogs: ["pruning_by_age_removes_what_ended_before"],
    PrunesTheNewest: ["pruning_by_size_removes_the_oldest_final_ones_and_the_store_shrinks"],
    NeverShrinks: ["pruning_by_size_removes_the_oldest_final_ones_and_the_store_shrinks"],
    PrunesWhatRuns: ["executions_that_are_not_final_are_never_removed"],
    PrunesUnasked: ["pruning_without_a_limit_removes_nothing"],
    BringsBackHalves: ["a_pruned_execution_does_not_come_back_by_halves"],
    RemovesWhatHasEnded: ["removed_executions_are_gone_whatever_their_status_and_no_others"],
    RemovesTheRest: ["removed_executions_are_gone_whatever_their_status_and_no_others"],
    ForgetsDetails: ["every_payload_that_is_still_named_is_referenced"],
    ForgetsTenants: ["every_payload_that_is_still_named_is_referenced"],
    CutsLoops: ["a_large_loop_is_applied_and_read_whole"],
    KeepsTwice: ["what_a_record_lacks_is_kept_once_in_order"],
    KeepsAsTheyCame: ["what_a_record_lacks_is_kept_once_in_order"],
    ForgetsWhatItRecorded: ["what_is_recorded_is_lacking_no_more"],
    GivesAllAgain: ["what_follows_comes_without_what_was_before"],
    MakesNothingAnew: ["where_one_comes_late_all_come_again"],
    KeepsWhatTheStreamBrought: ["what_the_stream_has_brought_is_left_out"],
    MovesThePosition: ["recording_leaves_the_position_as_it_is"],
    RecordsWhatIsOld: ["a_batch_made_of_fewer_events_than_there_are_is_refused", "a_batch_is_recorded_once"],
    NotesWhatFails: ["what_cannot_be_written_changes_nothing"],
    LeavesTheOldLines: ["events_in_any_order_and_number_leave_the_record_that_they_leave_in_order"],
    InventsWhatHasNotBegun: ["what_comes_before_its_beginning_waits_for_it"],
    KeepsEventsOfThePruned: ["events_of_a_pruned_execution_are_forgotten_and_bring_nothing_back"],
    StartsAgain: ["the_start_is_that_of_the_first_worker"],
    ShowsHalfBatches: ["readers_and_a_writer_do_not_disturb_each_other"],
}


@pytest.mark.parametrize(
    ("broken", "name"),
    [(broken, name) for broken, names in CAUGHT.items() for name in names],
    ids=lambda part: part if isinstance(part, str) else part.__name__,
)
async def test_the_contract_catches(broken: type[MemoryRecords], name: str) -> None:
    with pytest.raises((AssertionError, ExceptionGroup, pytest.fail.Exception)):
        await run_contract(RecordStoreContract, name, lambda: {"store": broken()})


@pytest.mark.parametrize("name", sorted({name for names in CAUGHT.values() for name in names}))
async def test_a_whole_store_passes_where_a_broken_one_fails(name: str) -> None:
    await run_contract(RecordStoreContract, name, lambda: {"store": MemoryRecords()})


def test_every_promise_has_a_broken_store() -> None:
    promises = {name.removeprefix("test_") for name in dir(RecordStoreContract) if name.startswith("test_")}

    assert promises - {name for names in CAUGHT.values() for name in names} == set()
