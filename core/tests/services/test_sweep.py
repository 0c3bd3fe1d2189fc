"""The journal forgets what has been recorded and read, and what nobody has read for too long."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from turnout.config import UnreadSettings
from turnout.local.memory_records import MemoryRecords
from turnout.model.events import CancelRequested, Resumed
from turnout.model.execution import Status
from turnout.services.metadata import Metadata
from turnout.services.sweep import Readers

from core.tests.services.stream_yard import Receiver, StreamYard, read_all

HOUR_S = 3600.0


@dataclass
class Swept(StreamYard):
    names: list[str] = field(default_factory=lambda: ["shipper"])
    unread: UnreadSettings = field(default_factory=UnreadSettings)
    records: MemoryRecords = field(default_factory=MemoryRecords)

    def metadata(self) -> Metadata:
        readers = Readers(consumers=self.consumers, names=self.configured, unread=self.unread)
        return Metadata(self.journal, self.records, self.clock, readers=readers)

    async def configured(self) -> list[str]:
        return self.names

    async def kept(self, *ids: str) -> list[str]:
        return [id for id in ids if await self.journal.rows(id)]


@pytest.fixture
def yard() -> Swept:
    return Swept()


async def test_an_execution_is_kept_until_its_consumer_has_read_its_end(yard: Swept) -> None:
    metadata, receiver = yard.metadata(), Receiver()
    await yard.whole("a", "one")
    await metadata.catch_up()
    assert await yard.kept("a") == ["a"]

    await read_all(yard.reading(receiver))
    await metadata.catch_up()

    assert await yard.kept("a") == []
    assert receiver.texts == ["a:one", "a:Ended"]


async def test_the_slowest_consumer_decides(yard: Swept) -> None:
    yard.names = ["quick", "slow"]
    metadata, quick, slow = yard.metadata(), Receiver(name="quick"), Receiver(name="slow")
    await yard.whole("a")
    await read_all(yard.reading(quick))
    await metadata.catch_up()
    assert await yard.kept("a") == ["a"]

    await read_all(yard.reading(slow))
    await metadata.catch_up()

    assert await yard.kept("a") == []


async def test_without_consumers_nothing_is_held(yard: Swept) -> None:
    yard.names = []
    await yard.whole("a")

    await yard.metadata().catch_up()

    assert await yard.kept("a") == []


async def test_a_service_that_is_no_longer_configured_holds_nothing(yard: Swept) -> None:
    metadata = yard.metadata()
    await yard.whole("a")
    await metadata.catch_up()
    assert await yard.kept("a") == ["a"]

    yard.names = []
    await metadata.catch_up()

    assert await yard.kept("a") == []


async def test_what_has_not_been_read_at_the_end_of_a_process_is_swept_by_the_next(yard: Swept) -> None:
    await yard.whole("a")
    await yard.begin("b", yard.line("goes on"))
    await yard.metadata().catch_up()
    await read_all(yard.reading(Receiver()))
    after = yard.metadata()

    await after.start()
    await after.stop()

    assert await yard.kept("a", "b") == ["b"]


async def test_an_event_that_failed_is_kept_until_it_succeeds(yard: Swept) -> None:
    metadata, receiver = yard.metadata(), Receiver()
    receiver.refuse = {"a:bad"}
    await yard.whole("a", "bad")
    await yard.whole("b")
    reading = yard.reading(receiver)
    await read_all(reading)
    await metadata.catch_up()
    assert await yard.kept("a", "b") == ["a", "b"]

    receiver.refuse.clear()
    yard.clock.advance(1.0)
    await read_all(reading)
    await metadata.catch_up()

    assert await yard.kept("a", "b") == []


async def test_what_a_person_resumes_meanwhile_goes_on(yard: Swept) -> None:
    metadata = yard.metadata()
    await yard.begin("a", yard.end(Status.FAILED))
    await metadata.catch_up()
    await yard.add("a", Resumed(at=yard.clock.now()))
    await metadata.catch_up()

    await read_all(yard.reading(Receiver()))
    await metadata.catch_up()

    assert await yard.kept("a") == ["a"]


async def test_a_wish_to_cancel_that_comes_after_the_end_does_not_keep_it(yard: Swept) -> None:
    metadata = yard.metadata()
    await yard.whole("a")
    await yard.add("a", CancelRequested(at=yard.clock.now()))
    await metadata.catch_up()

    await read_all(yard.reading(Receiver()))
    await metadata.catch_up()

    assert await yard.kept("a") == []


async def test_beyond_the_time_it_is_dropped_counted_and_the_consumer_told(
    yard: Swept, caplog: pytest.LogCaptureFixture
) -> None:
    yard.unread = UnreadSettings(hours=2)
    metadata, receiver = yard.metadata(), Receiver()
    await yard.whole("a", "lost")
    await yard.whole("b", "lost too")
    yard.clock.advance(2 * HOUR_S + 1)
    await yard.whole("c", "kept")
    await metadata.catch_up()
    assert await yard.kept("a", "b", "c") == ["c"]
    assert "consumer shipper has not read for too long: the events of 2 executions were dropped unread" in caplog.text

    await read_all(yard.reading(receiver))

    assert receiver.dropped == [2]
    assert receiver.texts == ["c:kept", "c:Ended"]


async def test_beyond_the_number_of_rows_it_is_dropped_counted_and_the_consumer_told(yard: Swept) -> None:
    yard.unread = UnreadSettings(rows=6)
    metadata, receiver = yard.metadata(), Receiver("log")
    for id in "abcd":
        await yard.whole(id, "line")
    await metadata.catch_up()
    assert await yard.kept("a", "b", "c", "d") == ["c", "d"]

    await read_all(yard.reading(receiver))
    await metadata.catch_up()

    assert receiver.dropped == [2]
    assert receiver.texts == ["c:line", "d:line"]
    assert await yard.kept("a", "b", "c", "d") == []


async def test_what_is_under_way_is_never_dropped(yard: Swept) -> None:
    yard.unread = UnreadSettings(rows=1, hours=1)
    metadata = yard.metadata()
    await yard.begin("a", yard.line("long ago"))
    yard.clock.advance(100 * HOUR_S)
    for id in "bcd":
        await yard.whole(id)
    await metadata.catch_up()

    assert await yard.kept("a") == ["a"]


async def test_a_failed_event_that_was_dropped_is_given_up_counted_and_told(
    yard: Swept, caplog: pytest.LogCaptureFixture
) -> None:
    yard.unread = UnreadSettings(hours=1)
    metadata, receiver = yard.metadata(), Receiver()
    receiver.refuse = {"a:bad"}
    await yard.whole("a", "bad")
    reading = yard.reading(receiver)
    await read_all(reading)
    yard.clock.advance(2 * HOUR_S)
    await yard.whole("b")
    await metadata.catch_up()
    assert await yard.kept("a") == []

    await read_all(reading)

    assert receiver.dropped == [1]
    assert "consumer shipper: events of 1 executions that it refused were dropped" in caplog.text
    assert (await yard.consumers.get("shipper")).value.failed == ()
