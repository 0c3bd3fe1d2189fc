"""A jail's way out is closed with it: at once, and with nothing left to run where the code never knocked."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct

import pytest
from turnout.interfaces.sandbox import Egress
from turnout_ecs.egress.limits import EgressLimits
from turnout_ecs.jail.way import Doors, Way

_DOORS = Doors(EgressLimits(), ssl.create_default_context())
_ASKED = b'{"host":"a.test","port":80,"tls":false}'
_OPENS = struct.pack(">IIB", len(_ASKED), 1, 1) + _ASKED


@pytest.mark.parametrize("in_a_job", [False, True])
async def test_a_way_that_was_never_used_is_closed_at_once_and_leaves_nothing_to_run(*, in_a_job: bool) -> None:
    ours, theirs = socket.socketpair()
    way = Way(ours, _DOORS)
    if in_a_job:
        way.enter(Egress())
    tasks = asyncio.all_tasks()

    way.close()

    with theirs:
        theirs.settimeout(0)
        assert theirs.recv(1) == b""
    assert ours.fileno() == -1
    assert asyncio.all_tasks() == tasks


async def test_a_way_that_was_used_is_closed_with_its_broker() -> None:
    ours, theirs = socket.socketpair()
    way = Way(ours, _DOORS)
    way.enter(Egress())
    tasks = asyncio.all_tasks()
    loop = asyncio.get_running_loop()
    with theirs:
        theirs.settimeout(0)
        theirs.send(_OPENS)
        refused = await loop.sock_recv(theirs, 65536)

        way.close()

        async with asyncio.timeout(10):
            assert await loop.sock_recv(theirs, 65536) == b""
            await asyncio.gather(*(asyncio.all_tasks() - tasks))
    assert b"a.test" in refused
    assert ours.fileno() == -1


async def test_a_way_whose_broker_is_just_being_opened_is_closed_too() -> None:
    ours, theirs = socket.socketpair()
    way = Way(ours, _DOORS)
    way.enter(Egress())
    tasks = asyncio.all_tasks()
    with theirs:
        theirs.settimeout(0)
        theirs.send(_OPENS)
        while asyncio.all_tasks() == tasks:
            await asyncio.sleep(0)

        way.close()

        async with asyncio.timeout(10):
            await asyncio.gather(*(asyncio.all_tasks() - tasks))
        assert ours.fileno() == -1
