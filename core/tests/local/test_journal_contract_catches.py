"""Journals that each break a promise, and the tests of the contract that must notice it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from turnout.errors import Fenced
from turnout.interfaces.journal import JournalEntry, Row
from turnout.local.memory_journal import MemoryJournal, _Execution
from turnout.model.durability import Durability
from turnout.testing.clock import ManualClock
from turnout.testing.journal import JournalContract

from .contract_runs import run_contract


class BeginsAgain(MemoryJournal):
    async def begin(self, execution: str, rows: Sequence[Row], *, unique_s: float = 0.0) -> bool:
        await self.open(execution, self._executions[execution].fence if execution in self._executions else 0)
        self._write(execution, self._executions[execution], rows)
        return True


class RemembersNoName(MemoryJournal):
    async def begin(self, execution: str, rows: Sequence[Row], *, unique_s: float = 0.0) -> bool:
        return await super().begin(execution, rows)


class RemembersForEver(MemoryJournal):
    async def begin(self, execution: str, rows: Sequence[Row], *, unique_s: float = 0.0) -> bool:
        return await super().begin(execution, rows, unique_s=unique_s * 10**6)


class RemembersFromTheLastTry(MemoryJournal):
    async def begin(self, execution: str, rows: Sequence[Row], *, unique_s: float = 0.0) -> bool:
        if unique_s > 0 and self._remembered(execution):
            self._expiries = [(self._clock.now() + unique_s, execution)]
        return await super().begin(execution, rows, unique_s=unique_s)


class RefusesRemembered(MemoryJournal):
    async def begin(self, execution: str, rows: Sequence[Row], *, unique_s: float = 0.0) -> bool:
        return not self._remembered(execution) and await super().begin(execution, rows, unique_s=unique_s)


class RemembersEveryName(MemoryJournal):
    async def begin(self, execution: str, rows: Sequence[Row], *, unique_s: float = 0.0) -> bool:
        remembered = unique_s > 0 and self._remembered(execution)
        self._names.setdefault(execution, float("inf"))
        return not remembered and await super().begin(execution, rows)


class RemembersTooLate(MemoryJournal):
    async def begin(self, execution: str, rows: Sequence[Row], *, unique_s: float = 0.0) -> bool:
        known = execution in self._executions
        await asyncio.sleep(0)
        await super().begin(execution, rows, unique_s=unique_s)
        return not known


class RemembersWhatIsThere(MemoryJournal):
    async def remembered(self, executions: Sequence[str]) -> Sequence[str]:
        return [id for id in executions if await self.rows(id)]


class TellsNamesInAnyOrder(MemoryJournal):
    async def remembered(self, executions: Sequence[str]) -> Sequence[str]:
        return sorted(await super().remembered(executions))


class RefusesWhatWasOpened(MemoryJournal):
    async def begin(self, execution: str, rows: Sequence[Row], *, unique_s: float = 0.0) -> bool:
        return execution not in self._executions and await super().begin(execution, rows)


class ReadsBackwards(MemoryJournal):
    async def open(self, execution: str, token: int) -> Sequence[Row]:
        return list(reversed(await super().open(execution, token)))


class InventsARow(MemoryJournal):
    async def open(self, execution: str, token: int) -> Sequence[Row]:
        return await super().open(execution, token) or [Row("accepted", b"")]


class FencesEqualTokens(MemoryJournal):
    async def open(self, execution: str, token: int) -> Sequence[Row]:
        if execution in self._executions and self._executions[execution].fence >= token:
            raise Fenced(execution, token=token, current=token)
        return await super().open(execution, token)


class FencesNobody(MemoryJournal):
    def _check(self, execution: str, known: _Execution, token: int) -> None:
        pass


class NamesTheWrongToken(MemoryJournal):
    def _check(self, execution: str, known: _Execution, token: int) -> None:
        if known.fence > token:
            raise Fenced(execution, token=token, current=token)


class WritesText(MemoryJournal):
    def _write(self, execution: str, known: _Execution, rows: Sequence[Row]) -> None:
        super()._write(execution, known, [Row(row.kind, row.body.decode("ascii", "replace").encode()) for row in rows])


class OnlySaysItIsDurable(MemoryJournal):
    durability = Durability.PROCESS


class WritesBeforeItChecks(MemoryJournal):
    async def append(self, execution: str, token: int, rows: Sequence[Row]) -> None:
        self._write(execution, self._executions[execution], rows)
        self._owned(execution, token)


class ForgetsToCheckAtTheBarrier(MemoryJournal):
    async def barrier(self, execution: str, token: int) -> None:
        pass


class DoesNotFence(MemoryJournal):
    async def fence(self, execution: str, token: int) -> None:
        pass


class LowersFences(MemoryJournal):
    async def fence(self, execution: str, token: int) -> None:
        await self.open(execution, 10**9)
        self._executions[execution].fence = token


class FencesEverybody(MemoryJournal):
    async def fence(self, execution: str, token: int) -> None:
        for known in self._executions:
            await super().fence(known, token)


class IgnoresSignals(MemoryJournal):
    async def signal(self, execution: str, row: Row) -> bool:
        return execution in self._executions and bool(self._executions[execution].entries)


class SignalsStrangers(MemoryJournal):
    async def signal(self, execution: str, row: Row) -> bool:
        return await self.begin(execution, [row]) or await super().signal(execution, row)


class OwnsByReading(MemoryJournal):
    async def rows(self, execution: str) -> Sequence[Row]:
        if execution in self._executions:
            self._executions[execution].fence += 1
        return await super().rows(execution)


class PositionsByExecution(MemoryJournal):
    async def entries(self, *, after: int, limit: int) -> Sequence[JournalEntry]:
        entries = sorted(await super().entries(after=0, limit=10**6), key=lambda entry: entry.execution)
        return [replace(entry, position=n) for n, entry in enumerate(entries, 1) if n > after][:limit]


class SkipsAnEntry(MemoryJournal):
    async def entries(self, *, after: int, limit: int) -> Sequence[JournalEntry]:
        return await super().entries(after=after + (after > 0), limit=limit)


class IgnoresTheLimit(MemoryJournal):
    async def entries(self, *, after: int, limit: int) -> Sequence[JournalEntry]:
        return await super().entries(after=after, limit=10**6)


class NeverFinishes(MemoryJournal):
    async def unfinished(self) -> Sequence[str]:
        return list(self._executions)


class SortsByName(MemoryJournal):
    async def unfinished(self) -> Sequence[str]:
        return sorted(await super().unfinished())


class ForgetsNothing(MemoryJournal):
    async def forget(self, executions: Sequence[str], *, through: int | None = None) -> None:
        pass


class ForgetsEverything(MemoryJournal):
    async def forget(self, executions: Sequence[str], *, through: int | None = None) -> None:
        await super().forget(list(self._executions), through=through)


class ForgetsWhatGoesOn(MemoryJournal):
    async def forget(self, executions: Sequence[str], *, through: int | None = None) -> None:
        await super().forget(executions)


class BringsBack(MemoryJournal):
    async def append(self, execution: str, token: int, rows: Sequence[Row]) -> None:
        await self.fence(execution, 0)
        await super().append(execution, token, rows)


class UsesPositionsAgain(MemoryJournal):
    async def forget(self, executions: Sequence[str], *, through: int | None = None) -> None:
        await super().forget(executions, through=through)
        self._position = max(self._entries, default=0)


class SendsLastFirst(MemoryJournal):
    async def append(self, execution: str, token: int, rows: Sequence[Row]) -> None:
        self._owned(execution, token).entries.reverse()
        await super().append(execution, token, rows)
        self._executions[execution].entries.reverse()


CAUGHT = {
    BeginsAgain: [
        "begin_writes_the_first_rows_of_an_execution_once",
        "of_two_that_begin_at_once_one_succeeds",
    ],
    RemembersNoName: ["a_name_begun_with_unique_s_is_remembered_although_it_was_forgotten"],
    RemembersForEver: ["a_name_is_forgotten_once_its_time_is_over"],
    RemembersFromTheLastTry: ["a_name_is_remembered_from_the_time_at_which_it_was_begun"],
    RefusesRemembered: ["a_remembered_name_can_be_begun_without_unique_s"],
    RemembersEveryName: ["a_name_begun_without_unique_s_is_not_remembered"],
    RemembersTooLate: ["of_two_that_begin_with_unique_s_at_once_one_succeeds"],
    RemembersWhatIsThere: ["remembered_tells_the_names_that_would_be_refused_in_their_order"],
    TellsNamesInAnyOrder: ["remembered_tells_the_names_that_would_be_refused_in_their_order"],
    RefusesWhatWasOpened: ["an_execution_that_was_opened_before_its_first_row_can_begin"],
    ReadsBackwards: ["open_returns_all_rows_in_the_order_written"],
    InventsARow: ["open_of_an_execution_without_rows_is_empty"],
    FencesEqualTokens: ["an_owner_may_open_again_with_its_own_token"],
    FencesNobody: [
        "open_is_fenced_by_a_higher_token",
        "an_earlier_owner_is_fenced_and_its_rows_are_not_written",
        "the_barrier_is_fenced_although_nothing_was_sent",
    ],
    NamesTheWrongToken: ["open_is_fenced_by_a_higher_token"],
    WritesText: ["rows_come_back_as_they_were_written"],
    OnlySaysItIsDurable: [
        "an_acknowledged_row_is_seen_by_everybody",
        "rows_sent_before_close_are_written",
    ],
    WritesBeforeItChecks: ["an_earlier_owner_is_fenced_and_its_rows_are_not_written"],
    ForgetsToCheckAtTheBarrier: ["the_barrier_is_fenced_although_nothing_was_sent"],
    DoesNotFence: ["a_fence_keeps_an_earlier_owner_from_writing"],
    LowersFences: ["a_fence_is_never_lowered"],
    FencesEverybody: ["a_fence_of_one_execution_does_not_touch_another"],
    IgnoresSignals: ["a_signal_is_written_whatever_the_fence"],
    SignalsStrangers: ["a_signal_to_an_execution_without_rows_changes_nothing"],
    OwnsByReading: ["rows_does_not_take_ownership"],
    PositionsByExecution: ["entries_are_all_rows_in_order_with_rising_positions"],
    SkipsAnEntry: [
        "a_reader_goes_on_after_the_last_entry_it_saw",
        "a_reader_that_follows_writers_misses_no_row",
    ],
    IgnoresTheLimit: ["a_reader_goes_on_after_the_last_entry_it_saw"],
    NeverFinishes: ["unfinished_are_those_whose_last_row_is_no_end_the_oldest_first"],
    SortsByName: ["unfinished_are_those_whose_last_row_is_no_end_the_oldest_first"],
    ForgetsNothing: ["forgotten_rows_are_gone_and_the_others_stay"],
    ForgetsWhatGoesOn: ["an_execution_that_goes_on_is_not_forgotten_with_what_was_seen_of_it"],
    ForgetsEverything: ["forgotten_rows_are_gone_and_the_others_stay"],
    BringsBack: ["a_forgotten_execution_is_not_brought_back_by_its_last_owner"],
    UsesPositionsAgain: ["positions_of_forgotten_rows_are_not_used_again"],
    SendsLastFirst: ["rows_sent_without_waiting_keep_their_order"],
}


async def check(journal_class: type[MemoryJournal], name: str) -> None:
    """Run one test of the contract on a journal of this class."""

    def fixtures() -> dict[str, object]:
        clock = ManualClock()

        async def pass_time(seconds: float) -> None:
            clock.advance(seconds)

        def make_journal() -> MemoryJournal:
            return journal_class(clock=clock)

        return {"journal": make_journal(), "make_journal": make_journal, "pass_time": pass_time}

    await run_contract(JournalContract, name, fixtures)


@pytest.mark.parametrize(
    ("broken", "name"),
    [(broken, name) for broken, names in CAUGHT.items() for name in names],
    ids=lambda part: part if isinstance(part, str) else part.__name__,
)
async def test_the_contract_catches(broken: type[MemoryJournal], name: str) -> None:
    with pytest.raises((AssertionError, Fenced, pytest.fail.Exception)):
        await check(broken, name)


@pytest.mark.parametrize("name", sorted({name for names in CAUGHT.values() for name in names}))
async def test_a_whole_journal_passes_where_a_broken_one_fails(name: str) -> None:
    await check(MemoryJournal, name)


def test_every_promise_has_a_broken_journal() -> None:
    promises = {name.removeprefix("test_") for name in dir(JournalContract) if name.startswith("test_")}

    assert promises - {name for names in CAUGHT.values() for name in names} == set()
