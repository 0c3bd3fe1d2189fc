"""Who watches the event stream misses nothing, whatever is recorded and forgotten meanwhile."""

from __future__ import annotations

import asyncio

import pytest
from turnout.services.watching import Watcher

from core.tests.services.stream_yard import text_of
from core.tests.services.test_sweep import Swept


@pytest.fixture
def yard() -> Swept:
    return Swept(names=[])


async def read(yard: Swept, watcher: Watcher, position: int, count: int) -> list[str]:
    """What comes above the position, as soon as there is so much."""
    texts: list[str] = []
    async for batch in watcher.follow(position):
        texts += map(text_of, batch)
        if len(texts) >= count:
            break
    return texts


async def test_what_ends_and_is_recorded_before_it_is_read_is_kept(yard: Swept) -> None:
    metadata, watcher = yard.metadata(), Watcher(yard.journal, yard.consumers, yard.clock)
    await yard.whole("before", "not watched")
    await metadata.catch_up()
    position = await yard.records.position()
    await watcher.start(position)

    await yard.whole("a", "one")
    await metadata.catch_up()
    assert await yard.kept("before", "a") == ["a"]

    assert await read(yard, watcher, position, 3) == ["a:Accepted", "a:one", "a:Ended"]


async def test_what_it_has_read_and_all_once_it_stops_is_let_go(yard: Swept) -> None:
    metadata, watcher = yard.metadata(), Watcher(yard.journal, yard.consumers, yard.clock)
    await watcher.start(0)
    await yard.whole("a")
    following = asyncio.ensure_future(read(yard, watcher, 0, 4))
    await yard.clock.run(1.0)
    await metadata.catch_up()
    assert await yard.kept("a") == []
    await yard.whole("b")
    await yard.clock.run(1.0)
    assert await following == ["a:Accepted", "a:Ended", "b:Accepted", "b:Ended"]
    await yard.whole("c")
    await metadata.catch_up()
    assert await yard.kept("c") == ["c"]

    await watcher.stop()
    await metadata.catch_up()

    assert await yard.kept("b", "c") == []


async def test_a_watcher_that_died_holds_nothing_for_long(yard: Swept) -> None:
    metadata = yard.metadata()
    await Watcher(yard.journal, yard.consumers, yard.clock).start(0)
    await yard.whole("a")
    await metadata.catch_up()
    assert await yard.kept("a") == ["a"]

    yard.clock.advance(31.0)
    await metadata.catch_up()

    assert await yard.kept("a") == []
    assert await yard.consumers.watching(yard.clock.now()) is None
