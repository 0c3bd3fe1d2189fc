"""The promises of `turnout.interfaces.log_sink`, one test each. Subclass `LogSinkContract`; give `sink`, and `other_side`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import pytest

from turnout.errors import BackendError
from turnout.interfaces.log_sink import LogEntry, LogSink

__all__ = ["Arrived", "LogSinkContract", "OtherSide", "log_entry"]

_TEXTS: Final = (
    "",
    "plain",
    "two\nlines\r\n",
    'a "quote", a \\ and {braces}',
    "Straße 🚂 \u2028 \x00 \x1b[31m",
    "\ud800 alone",
)
_MEGABYTE: Final = 1000 * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """What the other side has of an entry."""

    id: str
    customer: str
    level: str
    message: str


class OtherSide(ABC):
    """Where a sink ships to, as a test sees it. `credential` is what the sink was given to be let in; empty if nothing."""

    credential: str = ""

    @abstractmethod
    async def arrived(self) -> Sequence[Arrived]:
        """Everything it has taken, what came twice twice."""

    @abstractmethod
    async def go_down(self) -> None:
        """Take nothing more."""

    @abstractmethod
    async def come_back(self) -> None: ...


def log_entry(number: int = 1, *, at: float = 1_700_000_000.0, **fields: Any) -> LogEntry:
    """A line of an execution of `acme`."""
    usual: dict[str, Any] = {
        "level": "info",
        "source": "log",
        "message": f"line {number}",
        "tenant": "acme",
        "instance": "acme-orders",
        "integration": "orders",
        "version": "1.0.0",
        "flow": "import",
        "execution": "e1",
        "step": "read",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "span_id": "b7ad6b7169203331",
        "attributes": {"attempt": 1, "ratio": 0.5, "last": True, "status": "running"},
    }
    return LogEntry(id=str(number), at=at + number / 1000, **{**usual, **fields})


class LogSinkContract:
    """Each test is one sentence of the interface."""

    @pytest.fixture
    def sink(self) -> Any:
        raise NotImplementedError("override the fixture `sink`")

    @pytest.fixture
    def other_side(self) -> Any:
        raise NotImplementedError("override the fixture `other_side`")

    @pytest.fixture
    def now(self) -> float:
        """When the entries are of; the other side may refuse what is old."""
        return 1_700_000_000.0

    async def test_all_entries_are_the_other_sides(self, sink: LogSink, other_side: OtherSide, now: float) -> None:
        entries = [
            log_entry(1, at=now),
            log_entry(2, at=now, level="error", tenant="globex"),
            log_entry(3, at=now, level="debug", message="no customer's", tenant="", instance="", execution=""),
        ]

        shipped = await sink.write(entries)

        assert (shipped.failed, shipped.refused) == ((), 0)
        assert sorted(await other_side.arrived(), key=lambda one: one.id) == [
            Arrived(id="1", customer="acme", level="info", message="line 1"),
            Arrived(id="2", customer="globex", level="error", message="line 2"),
            Arrived(id="3", customer="", level="debug", message="no customer's"),
        ]

    @pytest.mark.parametrize("text", _TEXTS)
    async def test_text_comes_out_as_it_went_in(
        self, sink: LogSink, other_side: OtherSide, now: float, text: str
    ) -> None:
        await sink.write([log_entry(1, at=now, message=text), log_entry(2, at=now, step=text)])

        arrived = {one.id: one.message for one in await other_side.arrived()}

        assert arrived == {"1": text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"), "2": "line 2"}

    async def test_any_number_of_entries_is_taken(self, sink: LogSink, other_side: OtherSide, now: float) -> None:
        shipped = await sink.write([log_entry(number, at=now) for number in range(2500)])

        assert (shipped.failed, shipped.refused) == ((), 0)
        assert sorted(int(one.id) for one in await other_side.arrived()) == list(range(2500))

    async def test_many_large_entries_are_taken(self, sink: LogSink, other_side: OtherSide, now: float) -> None:
        entries = [log_entry(number, at=now, message="x" * 700_000) for number in range(9)]

        shipped = await sink.write(entries)

        assert (shipped.failed, shipped.refused) == ((), 0)
        assert {one.id: len(one.message) for one in await other_side.arrived()} == {
            str(number): 700_000 for number in range(9)
        }

    @pytest.mark.parametrize("char", ["x", '"', "\x01", "ü", "🚂"])
    async def test_what_is_too_large_is_cut_and_says_so(
        self, sink: LogSink, other_side: OtherSide, now: float, char: str
    ) -> None:
        message = char * (9 * _MEGABYTE // len(char.encode()))

        shipped = await sink.write([log_entry(1, at=now, message=message), log_entry(2, at=now)])

        assert (shipped.failed, shipped.refused) == ((), 0)
        arrived = {one.id: one.message for one in await other_side.arrived()}
        assert arrived["2"] == "line 2"
        assert arrived["1"].startswith(char * 1000)
        assert arrived["1"].endswith("bytes more)")

    async def test_if_it_takes_nothing_now_that_is_raised_and_the_same_can_be_shipped_later(
        self, sink: LogSink, other_side: OtherSide, now: float
    ) -> None:
        entries = [log_entry(number, at=now) for number in range(3)]
        await sink.write(entries[:1])
        await other_side.go_down()
        with pytest.raises(BackendError) as failure:
            await sink.write(entries)
        assert not other_side.credential or other_side.credential not in f"{failure.value!r} {failure.value}"

        await other_side.come_back()
        await sink.write(entries)

        assert {one.id for one in await other_side.arrived()} == {"0", "1", "2"}

    async def test_shipping_an_entry_again_is_harmless(self, sink: LogSink, other_side: OtherSide, now: float) -> None:
        await sink.write([log_entry(1, at=now)])

        shipped = await sink.write([log_entry(1, at=now), log_entry(2, at=now)])

        assert (shipped.failed, shipped.refused) == ((), 0)
        assert {one.id for one in await other_side.arrived()} == {"1", "2"}

    async def test_entries_may_come_in_any_order(self, sink: LogSink, other_side: OtherSide, now: float) -> None:
        entries = [replace(log_entry(number, at=now), at=now - (number * 7919) % 13) for number in range(40)]

        shipped = await sink.write(entries)

        assert (shipped.failed, shipped.refused) == ((), 0)
        assert len(await other_side.arrived()) == 40

    async def test_without_entries_nothing_happens(self, sink: LogSink, other_side: OtherSide) -> None:
        shipped = await sink.write([])

        assert (shipped.failed, shipped.refused) == ((), 0)
        assert list(await other_side.arrived()) == []

    def test_what_it_says_of_itself_has_no_credential(self, sink: LogSink, other_side: OtherSide) -> None:
        assert not other_side.credential or other_side.credential not in sink.describe()

    async def test_closing_again_changes_nothing(self, sink: LogSink) -> None:
        await sink.close()

        await sink.close()
