"""One consumer reads the event stream: in order, at least once, across failures and deaths."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from turnout.interfaces.service import Consumer, Delivery, Invocation
from turnout.model.events import Began
from turnout.services.consuming import Came

from core.tests.services.stream_yard import Receiver, StreamYard, read_all


@pytest.fixture
def yard() -> StreamYard:
    return StreamYard()


async def test_a_consumer_gets_the_kinds_it_wants_in_order_each_with_its_execution(yard: StreamYard) -> None:
    receiver = Receiver("log", "ended")
    await yard.begin("a", yard.line("one"))
    await yard.begin("b", Began(at=1.0, worker="w", token=1, attempt=1), yard.line("two"))
    await yard.add("a", yard.line("three"), yard.end())

    await read_all(yard.reading(receiver))

    assert receiver.texts == ["a:one", "b:two", "a:three", "a:Ended"]
    assert {delivery.info.tenant for call in receiver.calls for delivery in call} == {"acme"}
    assert len({delivery.id for call in receiver.calls for delivery in call}) == 4


async def test_another_process_goes_on_where_it_stopped(yard: StreamYard) -> None:
    receiver = Receiver()
    await yard.begin("a", yard.line("one"))
    first = yard.reading(receiver)
    await read_all(first)
    await first.release()
    await yard.add("a", yard.line("two"))

    await read_all(yard.reading(receiver, "two"))

    assert receiver.texts == ["a:one", "a:two"]


async def test_no_call_has_more_than_the_consumer_takes(yard: StreamYard) -> None:
    receiver = Receiver(most=3)
    await yard.whole("a", *map(str, range(10)))

    await read_all(yard.reading(receiver))

    assert [len(call) for call in receiver.calls] == [3, 3, 3, 2]
    assert receiver.texts == [*(f"a:{number}" for number in range(10)), "a:Ended"]


async def test_what_a_consumer_does_not_want_is_passed_over_without_a_call(yard: StreamYard) -> None:
    receiver = Receiver("ended")
    await yard.begin("a", yard.line("one"))

    await read_all(yard.reading(receiver))

    assert receiver.calls == []
    assert (await yard.consumers.get("shipper")).value.position == 2


async def test_all_come_again_if_it_raises(yard: StreamYard) -> None:
    receiver = Receiver()
    await yard.whole("a", "one")
    receiver.broken = OSError("the sink is away")
    with pytest.raises(OSError, match="away"):
        await yard.reading(receiver).advance()
    receiver.broken = None

    await read_all(yard.reading(receiver))

    assert receiver.texts == ["a:one", "a:Ended"]


async def test_what_failed_comes_again_alone_and_later_and_holds_up_nothing(yard: StreamYard) -> None:
    receiver = Receiver()
    receiver.refuse = {"a:bad"}
    await yard.whole("a", "bad", "good")
    reading = yard.reading(receiver)
    await read_all(reading)
    await yard.whole("b", "new")
    await read_all(reading)
    assert receiver.texts == ["a:bad", "a:good", "a:Ended", "b:new", "b:Ended"]

    yard.clock.advance(1.0)
    await read_all(reading)  # fails again, and then not before five seconds
    yard.clock.advance(1.0)
    await read_all(reading)
    receiver.refuse.clear()
    yard.clock.advance(4.0)
    await read_all(reading)

    assert receiver.texts[5:] == ["a:bad", "a:bad"]
    assert (await yard.consumers.get("shipper")).value.failed == ()


async def test_what_failed_is_remembered_by_the_next_process(yard: StreamYard) -> None:
    receiver = Receiver()
    receiver.refuse = {"a:bad"}
    await yard.whole("a", "bad")
    reading = yard.reading(receiver)
    await read_all(reading)
    await reading.release()
    receiver.refuse.clear()
    yard.clock.advance(2.0)

    await read_all(yard.reading(receiver, "two"))

    assert receiver.texts == ["a:bad", "a:Ended", "a:bad"]


async def test_a_redelivery_that_raises_is_put_off_like_one_that_fails(yard: StreamYard) -> None:
    receiver = Receiver()
    receiver.refuse = {"a:bad"}
    await yard.whole("a", "bad")
    reading = yard.reading(receiver)
    await read_all(reading)
    receiver.broken = OSError("still bad")
    yard.clock.advance(1.0)
    with pytest.raises(OSError, match="still bad"):
        await reading.advance()

    [failed] = (await yard.consumers.get("shipper")).value.failed
    assert (failed.attempts, failed.due) == (2, yard.clock.now() + 5.0)


async def test_too_many_failures_hold_the_stream_until_some_succeed(yard: StreamYard) -> None:
    receiver = Receiver("log")
    receiver.refuse = {f"a:{number}" for number in range(1000)}
    await yard.whole("a", *map(str, range(1000)), "last")
    reading = yard.reading(receiver)
    await read_all(reading)
    assert "a:last" not in receiver.texts
    receiver.refuse.clear()
    yard.clock.advance(1.0)

    await read_all(reading)

    assert set(receiver.texts) == {*(f"a:{number}" for number in range(1000)), "a:last"}


async def test_only_one_process_reads_until_its_lease_is_over(yard: StreamYard) -> None:
    receiver = Receiver()
    await yard.whole("a")
    await yard.reading(receiver, "one").advance()
    await yard.whole("b")

    assert await yard.reading(receiver, "two").advance() is Came.ELSEWHERE
    yard.clock.advance(1000.0)
    assert await yard.reading(receiver, "two").advance() is Came.ON

    assert receiver.texts == ["a:Ended", "b:Ended"]


async def test_the_lease_of_a_process_that_is_known_to_be_dead_is_taken_at_once(yard: StreamYard) -> None:
    receiver = Receiver()
    await yard.whole("a")
    await yard.reading(receiver, "dead").advance()
    await yard.whole("b")

    await read_all(yard.reading(receiver, "two", is_alive=lambda owner: owner != "dead"))

    assert receiver.texts == ["a:Ended", "b:Ended"]


async def test_what_a_process_died_at_that_had_given_it_but_not_said_so_comes_again(yard: StreamYard) -> None:
    died = asyncio.Event()
    receiver = Receiver()

    async def handle(deliveries: Sequence[Delivery], call: Invocation) -> Sequence[str]:
        await receiver.consumer.handle(deliveries, call)
        died.set()
        await asyncio.Event().wait()
        return ()

    await yard.whole("a", "one")
    stuck = Receiver()
    stuck.consumer = Consumer(name="shipper", events=receiver.consumer.events, handle=handle)
    task = asyncio.create_task(yard.reading(stuck, "dead").advance())
    await died.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    await read_all(yard.reading(receiver, "two", is_alive=lambda owner: owner != "dead"))

    assert receiver.texts == ["a:one", "a:Ended"] * 2
    assert [delivery.id for delivery in receiver.calls[0]] == [delivery.id for delivery in receiver.calls[1]]


async def test_two_that_read_at_once_lose_nothing(yard: StreamYard) -> None:
    receiver = Receiver(most=2)
    await yard.whole("a", *map(str, range(20)))
    one = yard.reading(receiver, "one", is_alive=lambda owner: False)
    two = yard.reading(receiver, "two", is_alive=lambda owner: False)

    came = [Came.ON, Came.ON]
    while Came.ON in came:
        came = list(await asyncio.gather(one.advance(), two.advance()))

    assert set(receiver.texts) == {*(f"a:{number}" for number in range(20)), "a:Ended"}


async def test_a_handler_knows_how_long_it_has_and_is_ended_after_that(yard: StreamYard) -> None:
    left: list[float] = []

    async def handle(deliveries: Sequence[Delivery], call: Invocation) -> Sequence[str]:
        left.append(call.remaining_s())
        await yard.clock.sleep(20.0)
        left.append(call.remaining_s())
        await asyncio.Event().wait()
        return ()

    await yard.whole("a")
    slow = Receiver()
    slow.consumer = Consumer(name="shipper", events=frozenset({"ended"}), handle=handle)
    advancing = asyncio.create_task(yard.reading(slow, handle_s=60.0).advance())
    await yard.clock.run(61.0, step=1.0)

    with pytest.raises(TimeoutError, match="longer than 60 s"):
        await advancing
    assert (left[0], round(left[1])) == (60.0, 40)
    assert (await yard.consumers.get("shipper")).value.position == 0
