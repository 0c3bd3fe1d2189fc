"""The connection on each event loop that Turnout runs on: commands use uvloop where it is installed, tests asyncio's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop
from turnout.interfaces.opening import Opening, Shared
from turnout.interfaces.queue import Message
from turnout_ecs.queue.queue import RedisQueue
from turnout_ecs.testing.servers import RedisServer


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_waiting_taker_is_handed_a_message_on_this_event_loop(
    tmp_path: Path, make_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def hand_off(url: str) -> str:
        shared = Shared()
        queue = await RedisQueue.connect(Opening(directory=tmp_path, name="redis", options={"url": url}, shared=shared))
        taking = asyncio.ensure_future(queue.take("host:1:a", wait_s=5))
        await asyncio.sleep(0)
        await queue.put(Message(id="e1", tenant="acme"))
        lease = await taking
        await queue.close()
        await shared.aclose()
        assert lease is not None
        return lease.message.id

    with RedisServer(tmp_path / "redis") as server, asyncio.Runner(loop_factory=make_loop) as runner:
        handed = runner.run(hand_off(server.url))

    assert handed == "e1"
