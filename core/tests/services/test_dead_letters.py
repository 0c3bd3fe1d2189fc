"""Dead letters are found without reading all that there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from turnout.errors import NotFound
from turnout.interfaces.queue import DeadMessage, Message, Queue
from turnout.local.dead_letters import DeadLetters

from core.tests.services.yard import Yard


class Asked:
    """A queue that notes how many dead letters it is asked for."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self.limits: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)

    async def dead(self, *, limit: int = 100) -> Sequence[DeadMessage]:
        self.limits.append(limit)
        return await self._queue.dead(limit=limit)


async def die(yard: Yard, ids: Sequence[str]) -> None:
    queue = yard.stores.queue
    for id in ids:
        await queue.put(Message(id=id, tenant="t"))
    for _ in range(5):
        for lease in await queue.take_many("w", limit=len(ids), wait_s=0):
            await queue.fail(lease, reason="made up")
    yard.lab.clock.at += 1


async def test_a_dead_letter_is_looked_for_among_the_newest_first(yard: Yard) -> None:
    await die(yard, ["oldest"])
    await die(yard, [f"e{n}" for n in range(120)])
    await die(yard, ["newest"])
    queue: Any = Asked(yard.stores.queue)
    letters = DeadLetters(queue, yard.stores.records, yard.metadata, yard.recovery, yard.operations)

    newest = await letters.get("newest")
    first, queue.limits = queue.limits, []
    oldest = await letters.get("oldest")
    with pytest.raises(NotFound):
        await letters.get("unknown")

    assert (newest.id, oldest.id) == ("newest", "oldest")
    assert first == [100]
    assert queue.limits == [100, 1000, 100, 1000]
