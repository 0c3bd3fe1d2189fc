"""What one process may lay on the broker, and so on everybody whose code this supervisor runs."""

from __future__ import annotations

import asyncio
import socket
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import h11
import pytest
from turnout_ecs.egress import EgressLimits
from turnout_ecs.egress.broker import _HEAD_PIECE_BYTES, _next_request
from turnout_ecs.egress.errors import Refused
from turnout_ecs.egress.frames import WINDOW_BYTES, Frame, FrameKind, frame
from turnout_ecs.egress.link import Stream
from turnout_ecs.egress.policy import Policy
from turnout_ecs.egress.upstream import Target, Upstream, resolve_by_system, verifying_context

from .node_side import Network, brokered
from .origin import NAME, served
from .played import Played, get


def test_a_window_full_of_tiny_pieces_takes_no_more_than_the_window() -> None:
    stream = Stream(None, 1, b"")  # type: ignore[arg-type]
    tracemalloc.start()
    for number in range(WINDOW_BYTES // 2):
        stream.take(Frame(FrameKind.DATA, 1, b"%02d" % (number % 100)))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert held < 2 * WINDOW_BYTES


class _Granted:
    """The link of a process that is granted all it sends."""

    def put(self, data: bytes) -> None:
        """Nobody reads it."""


@pytest.mark.parametrize(("spare_bytes", "held"), [(1000, True), (-200, False)], ids=["too long", "control: just not"])
async def test_headers_that_are_there_at_once_are_no_longer_than_others(spare_bytes: int, held: bool) -> None:
    limits = EgressLimits()
    stream = Stream(_Granted(), 1, b"")  # type: ignore[arg-type]
    filling = "X: " + "x" * (limits.header_bytes + _HEAD_PIECE_BYTES * held + spare_bytes)
    stream.take(Frame(FrameKind.DATA, 1, get(NAME, "/echo", filling, method="POST", body="some")))
    incoming = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.header_bytes)

    asking = _next_request(stream, incoming)

    if held:
        with pytest.raises(Refused, match="none"):
            await asking
    else:
        request = await asking
        assert request is not None
        assert (request.method, incoming.trailing_data[0]) == (b"POST", b"some")


async def test_connections_opened_and_dropped_without_end_end_the_process_s_way_out(ca: Path) -> None:
    async with served(ca.parent) as origin:
        network = Network(origin=origin, ca=ca, limits=EgressLimits(requests=100))
        async with brokered(network) as (broker, end):
            for number in range(1, 102):
                opened = frame(FrameKind.OPEN, number, b"{}") + frame(FrameKind.CLOSE, number)
                await asyncio.get_running_loop().sock_sendall(end, opened)
            assert await Played(end).ended()
            assert broker.broken == "more than 100 connections are opened"


async def test_names_that_nobody_answers_for_take_no_thread_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    def wait(*_: Any, **__: Any) -> list[Any]:
        answered.wait(20)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    lookups = [asyncio.ensure_future(resolve_by_system(f"{number}.test", 80)) for number in range(40)]
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(20):
            assert await asyncio.to_thread(lambda: "here") == "here"
    finally:
        answered.set()
        await asyncio.gather(*lookups)


async def test_a_process_has_few_names_looked_up_at_the_same_time() -> None:
    asked: list[str] = []
    answered = asyncio.Event()

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        await answered.wait()
        return []

    upstream = Upstream(EgressLimits(), verifying_context(), resolve)
    policy = Policy(["*"], ())
    targets = [Target(f"{number}.test", 80, tls=False) for number in range(20)]
    connecting = [asyncio.ensure_future(upstream.connect(target, policy)) for target in targets]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    at_once = len(asked)
    answered.set()
    await asyncio.gather(*connecting, return_exceptions=True)

    assert at_once == 4
    assert len(asked) == 20


async def test_a_body_in_pieces_of_a_byte_lets_others_have_their_turns(ca: Path) -> None:
    pieces = 10_000
    async with served(ca.parent) as origin:
        network = Network(origin=origin, ca=ca)
        async with brokered(network) as (_, end):
            played = Played(end)
            host = f"{NAME}:{origin.http}"
            stream = await played.open(NAME, origin.http)
            head = get(host, "/echo", "Transfer-Encoding: chunked", method="POST")
            await played.send(stream, head + b"1\r\na\r\n" * pieces + b"0\r\n\r\n")
            turns = 0

            async def count() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            counting = asyncio.ensure_future(count())
            answer = await played.until(stream, has=b"}")
            counting.cancel()

    assert answer.status == 200
    assert turns > pieces / 50
