"""Whatever a process writes: no crash, no hang, no memory without bound, and the broker still serves the next process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from turnout_ecs.egress.errors import Refused
from turnout_ecs.egress.frames import LARGEST_PAYLOAD, FrameKind, FrameParser, NotAFrame, frame
from turnout_ecs.egress.policy import host_name
from turnout_ecs.egress.requests import opened_target

from .node_side import Network, brokered
from .origin import NAME, served
from .played import Played, get

numbers = st.integers(0, 5) | st.integers(0, 2**32 - 1)
frames = st.builds(frame, st.sampled_from(FrameKind), numbers, st.binary(max_size=60))
hosts = st.sampled_from([NAME, "127.0.0.1", "other.test", "::1", "", "a\r\nb"]) | st.text(max_size=20)


@st.composite
def openings(draw: st.DrawFn) -> bytes:
    return json.dumps({"host": draw(hosts), "port": draw(st.integers(-1, 70_000)), "tls": draw(st.booleans())}).encode()


@given(st.lists(st.binary(max_size=30) | frames, max_size=20))
def test_the_parser_gives_frames_or_says_that_there_are_none(pieces: list[bytes]) -> None:
    parser = FrameParser()
    try:
        for piece in pieces:
            found = parser.feed(piece)
            assert all(len(one.payload) <= LARGEST_PAYLOAD for one in found)
            assert parser.held_bytes <= LARGEST_PAYLOAD + 9
    except NotAFrame:
        return


sent_kinds = st.sampled_from(
    [(FrameKind.DATA, 1, 50), (FrameKind.END, 0, 0), (FrameKind.CLOSE, 0, 0), (FrameKind.CREDIT, 4, 4)]
)


@given(st.lists(st.tuples(sent_kinds, numbers, st.data()), max_size=8), st.lists(st.integers(1, 30), max_size=30))
def test_frames_survive_being_cut(plans: list[Any], sizes: list[int]) -> None:
    expected = []
    for (kind, least, most), number, data in plans:
        expected.append((kind, number, data.draw(st.binary(min_size=least, max_size=most))))
    stream = b"".join(frame(*one) for one in expected)
    parser, found, at = FrameParser(), [], 0
    for size in [*sizes, len(stream)]:
        found += parser.feed(stream[at : at + size])
        at += size

    assert [tuple(one) for one in found] == expected
    assert parser.held_bytes == 0


@given(st.text(max_size=300))
def test_a_host_has_a_form_to_be_compared_in_or_is_refused(text: str) -> None:
    try:
        name = host_name(text)
    except Refused:
        return
    assert host_name(name) == name
    assert name.isascii()
    assert not set(name) & set("@/\\?#%[] \t\r\n\0")


@given(openings() | st.binary(max_size=100) | st.just(b"[" * 4000))
def test_an_opening_leads_somewhere_or_is_refused(opening: bytes) -> None:
    try:
        target = opened_target(opening)
    except Refused:
        return
    assert 0 < target.port < 65536


def started(stream: int, *data: bytes) -> bytes:
    opening = json.dumps({"host": NAME, "port": 80, "tls": False}).encode()
    return frame(FrameKind.OPEN, stream, opening) + b"".join(
        frame(FrameKind.DATA, stream, one.replace(b"HOST", NAME.encode())) for one in data if one
    )


tokens = st.sampled_from(
    [b"GET / HTTP/1.1\r\n", b"POST /echo HTTP/1.1\r\n", b"Host: HOST\r\n", b"\r\n", b"Content-Length: 5\r\n", b"hello",
     b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n", b"0\r\n\r\n", b"Connection: close\r\n", b"Expect: 100-continue\r\n",
     b"Upgrade: h2c\r\n", b"\0", b":", b"\n", b"GET http://a/ HTTP/1.1\r\n", b"Authorization: Basic !!\r\n", b"\xff\xfe"]
)  # fmt: skip
texts = st.lists(tokens | st.binary(max_size=10), max_size=12).map(b"".join)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.builds(started, st.integers(1, 4), texts)
        | frames
        | st.builds(lambda o: frame(FrameKind.OPEN, 9, o), openings()),
        max_size=8,
    )
)
def test_a_broker_outlives_any_process(ca: Path, caplog: pytest.LogCaptureFixture, pieces: list[bytes]) -> None:
    _run(_abused(ca, pieces))

    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def _abused(ca: Path, pieces: list[bytes]) -> None:
    async with served(ca.parent) as origin:
        network = Network(
            origin=origin, ca=ca, hosts=(NAME, "127.0.0.1", f"{NAME}:{origin.http}", f"127.0.0.1:{origin.http}")
        )
        async with brokered(network) as (_, end):
            with contextlib.suppress(ConnectionError):  # it was hung up on
                for piece in pieces:
                    await Played(end).write(piece)
        async with asyncio.timeout(20), brokered(network) as (_, end):
            answer = await Played(end).ask(NAME, origin.http, get(f"{NAME}:{origin.http}"))
            assert answer.status == 200


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts)
def test_what_is_written_as_a_request_is_answered_or_refused_and_no_other_host_is_meant(ca: Path, text: bytes) -> None:
    _run(_written(ca, text))


async def _written(ca: Path, text: bytes) -> None:
    async with served(ca.parent) as origin, asyncio.timeout(20):
        network = Network(origin=origin, ca=ca)
        async with brokered(network) as (_, end):
            played = Played(end)
            stream = await played.open(NAME, origin.http)
            if text:
                await played.send(stream, text.replace(b"HOST", f"{NAME}:{origin.http}".encode()))
            await played.write(frame(FrameKind.END, stream))
            answer = await played.until(stream)
        assert answer.over
        assert {seen.header("host") for seen in origin.seen} <= {f"{NAME}:{origin.http}"}
        assert all(exchange.host == NAME for exchange in network.exchanges)
        assert answer.message != "the request failed within Turnout"


def _run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Hypothesis calls plain functions."""
    asyncio.run(coroutine)
