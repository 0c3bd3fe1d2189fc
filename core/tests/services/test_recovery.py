"""Recovery finds what others left behind, whoever they were, and leaves alone what goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from turnout.codec import encode_event
from turnout.errors import Fenced
from turnout.interfaces.journal import Row
from turnout.interfaces.queue import Message
from turnout.model.events import Ended
from turnout.model.execution import Status
from turnout.services.recovery import Recovery
from turnout.services.submission import message_of

from core.tests.engine.test_going_on import flow
from core.tests.services.yard import Yard

LOOK = flow("- {id: look, action: world.look, with: {value: 1}}")
CALLS = "- {id: ask, call: {flow: other}}"
WAITS = """  other:
    steps: [{id: answer, wait: {callback: true}}]
"""


async def unqueued(yard: Yard) -> str:
    """An execution whose sender died between writing and queueing it."""
    id = await yard.lab.accept(LOOK)
    assert await yard.stores.queue.drop(id)
    return id


async def test_what_was_accepted_and_never_queued_is_queued_once_it_is_old_enough(yard: Yard) -> None:
    id = await unqueued(yard)

    at_once = await yard.recovery.requeue()
    yard.lab.clock.at += 31
    later = await yard.recovery.requeue()
    again = await yard.recovery.requeue()
    await yard.run(id)

    assert (list(at_once), list(later), list(again)) == ([], [id], [])
    assert (await yard.record(id)).status is Status.SUCCEEDED


async def test_a_start_after_a_crash_takes_what_was_accepted_a_moment_ago(yard: Yard) -> None:
    lost = await unqueued(yard)
    held = await yard.lab.accept(LOOK)
    assert await yard.stores.queue.drop(held)
    await yard.stores.queue.put(Message(id=held, tenant="t"), delay_s=60)

    going_on = await yard.recovery.recover()

    assert going_on == 2
    assert {lost, held} == {lease.message.id for lease in await yard.stores.queue.take_many("w", limit=9, wait_s=0)}


async def test_what_ended_waits_or_was_called_by_another_is_not_queued(yard: Yard) -> None:
    ended = await yard.lab.accept(LOOK)
    await yard.run(ended)
    caller = await yard.lab.accept(flow(CALLS) + WAITS)
    await yard.run(caller)
    yard.lab.clock.at += 3600

    assert list(await yard.recovery.requeue()) == []
    assert list(await yard.stores.queue.take_many("w", limit=9, wait_s=0)) == []


async def test_a_callers_end_that_has_not_left_the_journal_yet_is_not_begun_again(yard: Yard) -> None:
    id = await unqueued(yard)
    await yard.stores.journal.signal(id, Row(*encode_event(Ended(at=1.0, status=Status.SUCCEEDED))))
    yard.lab.clock.at += 60

    assert list(await yard.recovery.requeue()) == []


async def test_the_leases_of_workers_known_to_be_dead_end_at_once_and_they_write_no_more(yard: Yard) -> None:
    stores = yard.stores
    dead, alive = await yard.lab.accept(LOOK), await yard.lab.accept(LOOK)
    lost = await stores.queue.claim("dead", dead)
    await stores.queue.claim("alive", alive)
    assert lost is not None
    await stores.journal.open(dead, lost.token)
    recovery = Recovery(
        stores.queue,
        stores.journal,
        yard.lab.clock,
        message_of=message_of,
        dead_workers=lambda workers: [worker for worker in workers if worker == "dead"],
    )

    ended = await recovery.reap()

    assert [lease.message.id for lease in ended] == [dead]
    assert list(await stores.queue.workers()) == ["alive"]
    with pytest.raises(Fenced):
        await stores.journal.barrier(dead, lost.token)


class Counted:
    """A queue that counts how often it is asked for all who hold leases."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)

    async def workers(self) -> Any:
        self.asked += 1
        return await self._queue.workers()


async def test_a_queue_is_asked_who_holds_leases_only_where_a_worker_has_ended(yard: Yard) -> None:
    queue: Any = Counted(yard.stores.queue)
    ended = False
    recovery = Recovery(queue, yard.stores.journal, yard.lab.clock, message_of=message_of, any_ended=lambda: ended)

    for _ in range(3):
        await recovery.reap()
    before = queue.asked
    ended = True
    await recovery.reap()

    assert (before, queue.asked) == (0, 1)


async def given_up(yard: Yard) -> str:
    id = await yard.lab.accept(LOOK)
    for _ in range(5):
        assert await yard.stores.queue.claim("w", id) is not None
        yard.lab.clock.at += 60
    return id


async def test_reaping_the_last_attempt_gives_the_execution_its_end(yard: Yard) -> None:
    id = await given_up(yard)

    await yard.recovery.reap()

    record = await yard.record(id)
    assert record.status is Status.FAILED
    assert record.error is not None
    assert record.error.kind == "dead_letter"


async def test_dead_letters_that_are_dealt_with_are_not_looked_at_again(yard: Yard) -> None:
    for _ in range(3):
        await given_up(yard)
    await yard.recovery.reap()
    read, rows = [], yard.stores.journal.rows

    async def counted(execution: str) -> Any:
        read.append(execution)
        return await rows(execution)

    yard.stores.journal.rows = counted  # type: ignore[method-assign]
    await yard.recovery.bury()
    yard.stores.journal.rows = rows  # type: ignore[method-assign]

    assert read == []


async def test_what_dies_again_after_it_was_let_go_on_gets_its_end_again(yard: Yard) -> None:
    id = await given_up(yard)
    await yard.recovery.reap()
    yard.lab.clock.at += 1
    await yard.operations.resume(id)
    for _ in range(5):
        assert await yard.stores.queue.claim("w", id) is not None
        yard.lab.clock.at += 60

    await yard.recovery.reap()

    assert (await yard.record(id)).status is Status.FAILED


async def test_it_goes_on_by_itself_between_start_and_stop(yard: Yard) -> None:
    id = await unqueued(yard)

    await yard.recovery.start()  # the clock runs as fast as it is slept on
    async with asyncio.timeout(30):
        while id in await yard.stores.queue.missing([id]):
            await asyncio.sleep(0.001)
    await yard.recovery.stop()

    assert (await yard.stores.queue.stats()).ready == 1


async def test_a_worker_buries_what_it_ended_itself_and_leaves_the_others_to_theirs(yard: Yard) -> None:
    id = await given_up(yard)
    await yard.stores.queue.reap()
    ends = []

    for ids, settle_s in (({"another"}, 0.0), (None, 3600.0), ({id}, 0.0), (None, 0.0)):
        await yard.recovery.bury(ids, settle_s=settle_s)
        ends.append([row.kind for row in await yard.stores.journal.rows(id)].count("ended"))

    assert ends == [0, 0, 1, 1]
