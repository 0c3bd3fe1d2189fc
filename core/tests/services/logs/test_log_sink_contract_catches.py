"""Log sinks that each break a promise, and the tests of the contract that must notice it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from turnout.errors import BackendError
from turnout.interfaces.log_sink import LogEntry, LogSink, Shipped
from turnout.testing.log_sink import Arrived, LogSinkContract, OtherSide

from core.tests.local.contract_runs import run_contract

LIMIT = 1_000_000


class Drawer(OtherSide):
    """Takes lines in memory."""

    credential = "hunter22-key"

    def __init__(self) -> None:
        self.taken: list[Arrived] = []
        self.down = False

    async def arrived(self) -> Sequence[Arrived]:
        return list(self.taken)

    async def go_down(self) -> None:
        self.down = True

    async def come_back(self) -> None:
        self.down = False


class Whole(LogSink):
    """A whole one, for the broken ones to break."""

    def __init__(self, drawer: Drawer) -> None:
        self.drawer = drawer
        self.closed = False

    def describe(self) -> str:
        return "logs to a drawer"

    async def write(self, entries: Sequence[LogEntry]) -> Shipped:
        if self.drawer.down and entries:
            raise BackendError("the drawer is shut")
        self.drawer.taken += [self.line(entry) for entry in entries]
        return Shipped()

    def line(self, entry: LogEntry) -> Arrived:
        text = entry.message.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        if len(text) > LIMIT:
            text = f"{text[:LIMIT]} (9 bytes more)"
        return Arrived(id=entry.id, customer=entry.tenant, level=entry.level, message=text)

    async def close(self) -> None:
        self.closed = True


class MixesCustomers(Whole):
    def line(self, entry: LogEntry) -> Arrived:
        return replace(super().line(entry), customer="acme")


class StripsText(Whole):
    def line(self, entry: LogEntry) -> Arrived:
        return replace(super().line(entry), message=entry.message.strip())


class TakesAThousand(Whole):
    async def write(self, entries: Sequence[LogEntry]) -> Shipped:
        return await super().write(entries[:1000])


class TakesLittle(Whole):
    async def write(self, entries: Sequence[LogEntry]) -> Shipped:
        size, some = 0, []
        for entry in entries:
            size += len(entry.message)
            some += [entry] if size < 5 * LIMIT or len(entries) < 3 else []
        return await super().write(some)


class CutsInSilence(Whole):
    def line(self, entry: LogEntry) -> Arrived:
        return replace(super().line(entry), message=super().line(entry).message[:LIMIT])


class LosesWhatIsNotTaken(Whole):
    async def write(self, entries: Sequence[LogEntry]) -> Shipped:
        return Shipped() if self.drawer.down else await super().write(entries)


class ShowsItsKey(Whole):
    async def write(self, entries: Sequence[LogEntry]) -> Shipped:
        if self.drawer.down:
            raise BackendError(f"no answer to {self.drawer.credential}")
        return await super().write(entries)


class RefusesAgain(Whole):
    async def write(self, entries: Sequence[LogEntry]) -> Shipped:
        if {entry.id for entry in entries} & {one.id for one in self.drawer.taken} and not self.drawer.down:
            return Shipped(refused=len(entries))
        return await super().write(entries)


class WantsAnOrder(Whole):
    async def write(self, entries: Sequence[LogEntry]) -> Shipped:
        if [entry.at for entry in entries] != sorted(entry.at for entry in entries):
            return Shipped(refused=len(entries))
        return await super().write(entries)


class NeedsEntries(Whole):
    async def write(self, entries: Sequence[LogEntry]) -> Shipped:
        return await super().write(entries) if entries else Shipped(refused=1)


class DescribesItsKey(Whole):
    def describe(self) -> str:
        return f"logs with {self.drawer.credential}"


class ClosesOnce(Whole):
    async def close(self) -> None:
        if self.closed:
            raise BackendError("closed")
        await super().close()


CAUGHT: dict[type[Whole], str] = {
    MixesCustomers: "all_entries_are_the_other_sides",
    StripsText: "text_comes_out_as_it_went_in",
    TakesAThousand: "any_number_of_entries_is_taken",
    TakesLittle: "many_large_entries_are_taken",
    CutsInSilence: "what_is_too_large_is_cut_and_says_so",
    LosesWhatIsNotTaken: "if_it_takes_nothing_now_that_is_raised_and_the_same_can_be_shipped_later",
    ShowsItsKey: "if_it_takes_nothing_now_that_is_raised_and_the_same_can_be_shipped_later",
    RefusesAgain: "shipping_an_entry_again_is_harmless",
    WantsAnOrder: "entries_may_come_in_any_order",
    NeedsEntries: "without_entries_nothing_happens",
    DescribesItsKey: "what_it_says_of_itself_has_no_credential",
    ClosesOnce: "closing_again_changes_nothing",
}


class TestWhole(LogSinkContract):
    @pytest.fixture
    def other_side(self) -> Drawer:
        return Drawer()

    @pytest.fixture
    def sink(self, other_side: Drawer) -> Whole:
        return Whole(other_side)


@pytest.mark.parametrize("broken", CAUGHT, ids=lambda broken: broken.__name__)
async def test_a_broken_promise_is_noticed(broken: type[Whole]) -> None:
    def fixtures() -> dict[str, Any]:
        drawer = Drawer()
        return {"sink": broken(drawer), "other_side": drawer, "now": 1_700_000_000.0}

    with pytest.raises((AssertionError, BackendError, pytest.fail.Exception)):
        await run_contract(LogSinkContract, CAUGHT[broken], fixtures)


def test_every_promise_has_a_broken_sink() -> None:
    promises = {name.removeprefix("test_") for name in dir(LogSinkContract) if name.startswith("test_")}

    assert promises == set(CAUGHT.values())
