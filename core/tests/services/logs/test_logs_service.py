"""What of what happens is shipped to which sink."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from turnout.config import LogSettings
from turnout.errors import BackendError
from turnout.interfaces.log_sink import LogEntry, LogSink, Shipped
from turnout.interfaces.service import Delivery, Invocation
from turnout.local.memory_catalog import MemoryCatalog
from turnout.services.logs.counts import LogCounts
from turnout.services.logs.own import OwnLogs
from turnout.services.logs.service import Logs
from turnout.testing.clock import ManualClock
from turnout.testing.records import execution
from turnout.testing.service import ServiceContract
from turnout.testing.service_events import Effects, deliveries


class Shelf(LogSink):
    """Keeps what it takes; raises `broken`, refuses messages that hold `refuse`."""

    def __init__(self) -> None:
        self.entries: list[LogEntry] = []
        self.broken: Exception | None = None
        self.refuse = "\0\0"
        self.closed = 0

    async def write(self, entries: Sequence[LogEntry]) -> Shipped:
        if self.broken is not None:
            raise self.broken
        refused = [entry for entry in entries if self.refuse in entry.message]
        self.entries += [entry for entry in entries if entry not in refused]
        return Shipped(refused=len(refused), reason="it says no" if refused else "")

    async def close(self) -> None:
        self.closed += 1

    @property
    def messages(self) -> list[str]:
        return [entry.message for entry in self.entries]


class Shelves:
    def __init__(self, **sinks: LogSettings) -> None:
        self.catalog = MemoryCatalog()
        self.clock = ManualClock()
        self.sinks = {name: Shelf() for name in sinks}
        self.opened: list[str] = []
        self.service = Logs(sinks, self._open, LogCounts(self.catalog), self.clock)

    async def _open(self, name: str) -> LogSink:
        self.opened.append(name)
        return self.sinks[name]

    async def ship(self, given: Sequence[Delivery], **call: Any) -> list[str]:
        """To every sink what it wants of them."""
        names = {consumer.name: consumer for consumer in self.service.consumers()}
        failed: list[str] = []
        for consumer in names.values():
            failed += await consumer.handle(given, Invocation(**call))
        return failed


def of(tenant: str = "acme") -> Sequence[Delivery]:
    return deliveries(execution("e1", tenant=tenant, at=1000.0))


async def test_each_sink_is_a_consumer_of_what_it_wants() -> None:
    shelves = Shelves(
        all=LogSettings(kind="file", sources=("log", "steps", "executions", "platform")),
        lines=LogSettings(kind="file", sources=("log",)),
        own=LogSettings(kind="file", sources=("platform",)),
    )

    assert {consumer.name: set(consumer.events) for consumer in shelves.service.consumers()} == {
        "logs/all": {"log", "step", "attempted", "accepted", "began", "resumed", "ended"},
        "logs/lines": {"log"},
    }


async def test_an_execution_is_told_from_its_begin_to_its_end() -> None:
    shelves = Shelves(all=LogSettings(kind="file", sources=("log", "steps", "executions")))

    assert await shelves.ship(of()) == []

    assert [(entry.level, entry.source, entry.message) for entry in shelves.sinks["all"].entries] == [
        ("info", "executions", "execution accepted"),
        ("info", "executions", "execution began, attempt 1"),
        ("info", "steps", "step read succeeded"),
        ("info", "log", "read 1 order"),
        ("warning", "steps", "step post failed, and is tried again: the ERP is closed"),
        ("error", "log", "cannot post: Straße\n\0🚂"),
        ("error", "steps", "step post failed: the ERP is closed"),
        ("info", "executions", "execution resumed"),
        ("error", "executions", "execution failed: the ERP is closed"),
    ]
    last = shelves.sinks["all"].entries[-1]
    assert (last.tenant, last.instance, last.flow, last.execution, last.step) == (
        "acme",
        "acme-orders",
        "import",
        "e1",
        "post",
    )
    assert dict(last.attributes) == {"status": "failed", "duration_ms": 11_000.0, "error": "http_503"}
    assert (last.at, last.trace_id) == (1011.0, "0af7651916cd43dd8448eb211c80319c")


async def test_a_sink_gets_its_level_its_sources_and_its_customers_alone() -> None:
    shelves = Shelves(
        errors=LogSettings(kind="file", level="error"),
        acme=LogSettings(kind="file", sources=("log",), customers=("acme",)),
    )

    await shelves.ship([*of("acme"), *of("globex")])

    assert (
        shelves.sinks["errors"].messages
        == [
            "cannot post: Straße\n\0🚂",
            "execution failed: the ERP is closed",
        ]
        * 2
    )
    assert shelves.sinks["acme"].messages == ["read 1 order", "cannot post: Straße\n\0🚂"]


async def test_a_sink_that_is_down_holds_up_no_other_and_gets_it_later() -> None:
    shelves = Shelves(down=LogSettings(kind="file"), up=LogSettings(kind="file"))
    down, up = (consumer for consumer in shelves.service.consumers())
    shelves.sinks["down"].broken = BackendError("away")

    with pytest.raises(BackendError):
        await down.handle(of(), Invocation())
    await up.handle(of(), Invocation())
    shelves.sinks["down"].broken = None
    await down.handle(of(), Invocation())

    assert shelves.sinks["down"].messages == shelves.sinks["up"].messages != []


async def test_what_a_sink_refuses_is_counted_and_said(caplog: pytest.LogCaptureFixture) -> None:
    shelves = Shelves(all=LogSettings(kind="file"))
    shelves.sinks["all"].refuse = "read"

    assert await shelves.ship(of()) == []
    await shelves.ship(of())

    assert await LogCounts(shelves.catalog).totals(["all", "other"]) == {"all": 2, "other": 0}
    assert "log sink all refused 1 entries: it says no" in caplog.text


async def test_executions_that_were_dropped_unread_are_told_as_a_line() -> None:
    shelves = Shelves(all=LogSettings(kind="file"))

    assert await shelves.ship([], dropped=3) == []

    [entry] = shelves.sinks["all"].entries
    assert entry.message == "the logs of 3 executions were dropped unshipped: all was behind for too long"
    assert (entry.level, dict(entry.attributes)) == ("error", {"dropped_executions": 3, "sink": "all"})


async def test_a_sink_is_opened_once_at_the_start_or_when_it_is_needed_and_closed_at_the_end() -> None:
    shelves = Shelves(all=LogSettings(kind="file"))
    await shelves.ship(of())
    await shelves.service.start()
    await shelves.ship(of())
    await shelves.service.stop()

    assert (shelves.opened, shelves.sinks["all"].closed) == (["all"], 1)


@pytest.fixture
async def own() -> AsyncIterator[Callable[..., Shelves]]:
    made: list[Shelves] = []

    def make(**sinks: LogSettings) -> Shelves:
        made.append(Shelves(**sinks))
        return made[-1]

    yield make
    for one in made:
        await one.service.stop()


async def test_what_this_process_logs_is_shipped(own: Callable[..., Shelves]) -> None:
    shelves = own(all=LogSettings(kind="file"), lines=LogSettings(kind="file", sources=("log",)))
    await shelves.service.start()

    logging.getLogger("turnout.recovery").warning("gave up %s", "e1")
    await shelves.service.own.flush()

    [entry] = shelves.sinks["all"].entries
    assert (entry.level, entry.source, entry.message) == ("warning", "platform", "gave up e1")
    assert entry.attributes["logger"] == "turnout.recovery"
    assert shelves.sinks["lines"].entries == []


async def test_a_sink_for_some_customers_gets_nothing_of_the_platforms_own(own: Callable[..., Shelves]) -> None:
    shelves = own(acme=LogSettings(kind="file", customers=("acme",)))
    await shelves.service.start()

    logging.getLogger("turnout.recovery").warning("of everybody")
    await shelves.service.own.flush()

    assert shelves.sinks["acme"].entries == []


async def test_a_sink_that_is_down_gets_this_processs_log_later_and_what_had_no_room_is_counted(
    own: Callable[..., Shelves],
) -> None:
    shelves = own(all=LogSettings(kind="file"))
    await shelves.service.start()
    shelves.sinks["all"].broken = BackendError("away")
    for number in range(10_002):
        logging.getLogger("turnout.x").error("%d", number)
    await shelves.service.own.flush()
    shelves.sinks["all"].broken = None

    await shelves.service.own.flush()

    messages = shelves.sinks["all"].messages
    assert [message for message in messages if message.isdigit()] == [str(number) for number in range(10_000)]
    assert "2 lines of this process's log were dropped unshipped" in messages


async def test_what_is_logged_last_is_shipped_at_the_end(own: Callable[..., Shelves]) -> None:
    shelves = own(all=LogSettings(kind="file"))
    await shelves.service.start()

    logging.getLogger("turnout.x").error("goodbye")
    await shelves.service.stop()
    logging.getLogger("turnout.x").error("too late")

    assert shelves.sinks["all"].messages == ["goodbye"]


class TestLogs(ServiceContract):
    @pytest.fixture
    def shelves(self) -> Shelves:
        return Shelves(
            all=LogSettings(kind="file", level="debug", sources=("log", "steps", "executions", "platform")),
            acme=LogSettings(kind="file", customers=("acme",)),
        )

    @pytest.fixture
    def service(self, shelves: Shelves) -> Logs:
        return shelves.service

    @pytest.fixture
    def effects(self, shelves: Shelves) -> Effects:
        async def effects() -> object:
            return {name: {entry.id: entry for entry in shelf.entries} for name, shelf in shelves.sinks.items()}

        return effects


class TestOwnLogs(ServiceContract):
    @pytest.fixture
    def service(self) -> OwnLogs:
        return Shelves(all=LogSettings(kind="file")).service.own
