"""The event stream on one machine: consumers are driven soon after something is new, and none holds up another."""

from __future__ import annotations

import asyncio

import pytest
from turnout.interfaces.service import Consumer
from turnout.local.stream import EventStream

from core.tests.services.stream_yard import Receiver, StreamYard


@pytest.fixture
def yard() -> StreamYard:
    return StreamYard()


def stream_of(yard: StreamYard, owner: str = "one") -> EventStream:
    return EventStream(yard.journal, yard.consumers, yard.clock, owner=owner, poll_s=3600.0)


async def until(yard: StreamYard, receiver: Receiver, count: int) -> None:
    async with asyncio.timeout(30):
        while len(receiver.texts) < count:
            await yard.clock.run(1.0)


async def test_what_is_new_here_is_given_soon(yard: StreamYard) -> None:
    receiver, stream = Receiver(), stream_of(yard)
    stream.start([receiver.consumer])
    await yard.clock.run(1.0)

    await yard.whole("a", "one")
    stream.nudge()
    await until(yard, receiver, 2)
    await stream.stop()

    assert receiver.texts == ["a:one", "a:Ended"]


async def test_one_that_fails_is_tried_again_and_holds_up_no_other(
    yard: StreamYard, caplog: pytest.LogCaptureFixture
) -> None:
    broken, well, stream = Receiver(name="broken"), Receiver(name="well"), stream_of(yard)
    broken.broken = ValueError("a bug of ours")
    await yard.whole("a", "one")
    stream.start([broken.consumer, well.consumer])
    await until(yard, well, 2)
    assert "consumer broken is behind: a bug of ours" in caplog.text

    broken.broken = None
    yard.clock.advance(4000.0)
    await until(yard, broken, 2)
    await stream.stop()

    assert broken.texts == well.texts == ["a:one", "a:Ended"]


async def test_after_it_stopped_another_process_reads_at_once(yard: StreamYard) -> None:
    first, second, stream = Receiver(), Receiver(), stream_of(yard)
    await yard.whole("a")
    stream.start([first.consumer])
    await until(yard, first, 1)
    await stream.stop()
    await yard.whole("b")

    await stream_of(yard, "two").catch_up([second.consumer])

    assert (first.texts, second.texts) == (["a:Ended"], ["b:Ended"])


async def test_stopping_lets_the_call_under_way_end(yard: StreamYard) -> None:
    begun, go_on, receiver = asyncio.Event(), asyncio.Event(), Receiver()
    given = receiver.consumer.handle

    async def handle(*call: object) -> object:
        begun.set()
        await go_on.wait()
        return await given(*call)  # type: ignore[arg-type]  # handed on as it came

    slow: object = handle
    consumer = Consumer(name="shipper", events=receiver.consumer.events, handle=slow)  # type: ignore[arg-type]  # as above
    stream = stream_of(yard)
    await yard.whole("a")
    stream.start([consumer])
    await begun.wait()
    stopping = asyncio.create_task(stream.stop())
    await asyncio.sleep(0)
    go_on.set()
    await stopping

    state = (await yard.consumers.get("shipper")).value
    assert receiver.texts == ["a:Ended"]
    assert (state.position, state.owner) == (2, "")


async def test_stopping_again_or_without_a_start_changes_nothing(yard: StreamYard) -> None:
    stream = stream_of(yard)

    await stream.stop()
    stream.start([Receiver().consumer])
    await stream.stop()

    await stream.stop()
