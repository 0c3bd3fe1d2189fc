"""The connection where servers and networks fail."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from binascii import crc_hqx
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from turnout.errors import BackendError, SettingsError
from turnout.interfaces.opening import Opening
from turnout.interfaces.queue import Message
from turnout.model.durability import Durability
from turnout_ecs.connection import Connection
from turnout_ecs.options import Address
from turnout_ecs.queue.queue import RedisQueue
from turnout_ecs.router import slot_of
from turnout_ecs.server import Server
from turnout_ecs.testing.servers import RedisServer, free_port, running


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that a test may stop and start."""
    with running(tmp_path / "redis", appendonly="yes", appendfsync="always") as server:
        yield server


@pytest_asyncio.fixture
async def link(own_server: RedisServer) -> AsyncIterator[Connection]:
    connection = Connection(replace(Address.parse(own_server.url), timeout_s=1.0))
    yield connection
    await connection.aclose()


def opening(directory: Path, **options: object) -> Opening:
    return Opening(directory=directory, name="redis", options=options)


async def test_calls_of_one_turn_are_answered_in_their_order(link: Connection) -> None:
    futures = [link.call("RPUSH", "list", n) for n in range(1000)]

    assert await asyncio.gather(*futures) == list(range(1, 1001))


async def test_what_is_called_while_there_is_no_connection_yet_waits_for_it(
    link: Connection, own_server: RedisServer
) -> None:
    own_server.stop()
    call = link.call("SET", "key", "value")
    await asyncio.sleep(0.05)

    own_server.start()

    assert await call == b"OK"


async def test_what_was_sent_and_not_answered_fails_and_is_not_sent_again(
    link: Connection, own_server: RedisServer
) -> None:
    await link.ready()
    os.kill(own_server.pid, signal.SIGSTOP)
    lost = link.call("INCR", "number")
    await asyncio.sleep(0.05)

    own_server.restart(crash=True)

    with pytest.raises(BackendError, match="may or may not have been done"):
        await lost
    assert await link.call("INCR", "number") in {1, 2}  # the server may have done it, we have not done it again


async def test_what_may_be_done_twice_is_sent_again(link: Connection, own_server: RedisServer) -> None:
    await link.ready()
    os.kill(own_server.pid, signal.SIGSTOP)
    call = link.call("SET", "key", "value", safe=True)
    await asyncio.sleep(0.05)

    own_server.restart(crash=True)

    assert await call == b"OK"


async def test_a_server_that_answers_no_more_is_given_up_after_the_time_out(
    link: Connection, own_server: RedisServer
) -> None:
    await link.ready()
    os.kill(own_server.pid, signal.SIGSTOP)
    started = time.monotonic()

    with pytest.raises(BackendError):
        await link.call("GET", "key")
    took = time.monotonic() - started
    os.kill(own_server.pid, signal.SIGCONT)

    assert 0.7 < took < 20
    assert await link.call("PING") == b"PONG"


async def test_a_port_that_takes_bytes_and_says_nothing_cannot_be_connected_to() -> None:
    with socket.create_server(("127.0.0.1", 0)) as swallowing:
        port = swallowing.getsockname()[1]
        connection = Connection(Address(host="127.0.0.1", port=port, timeout_s=0.3))

        with pytest.raises(BackendError, match="no answer in time"):
            await connection.call("PING")

        await connection.aclose()


async def test_clients_that_an_operator_kills_come_back(link: Connection, own_server: RedisServer) -> None:
    queue = RedisQueue(link)
    taking = asyncio.create_task(queue.take("host:1:a", wait_s=60))
    while not own_server.command("EXISTS", "{turnout:queue:0}:idle"):
        await asyncio.sleep(0.01)

    own_server.command("CLIENT", "KILL", "TYPE", "pubsub")
    own_server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    other = Connection(Address.parse(own_server.url))
    await RedisQueue(other).put(Message(id="e1", tenant="acme"))
    lease = await asyncio.wait_for(taking, timeout=10)

    assert lease is not None
    assert lease.attempt == 1
    await queue.close()
    await other.aclose()


async def test_a_worker_that_waits_outlives_a_restart_of_the_server(link: Connection, own_server: RedisServer) -> None:
    queue = RedisQueue(link)
    await queue.put(Message(id="before", tenant="acme"), delay_s=0.5)
    taking = asyncio.create_task(queue.take("host:1:a", wait_s=60))
    await asyncio.sleep(0.05)

    await asyncio.to_thread(own_server.restart, crash=True)
    lease = await asyncio.wait_for(taking, timeout=10)

    assert lease is not None
    assert lease.message.id == "before"


async def test_scripts_that_the_server_forgot_are_sent_again(link: Connection, own_server: RedisServer) -> None:
    queue = RedisQueue(link)
    await queue.put(Message(id="e1", tenant="acme"))

    own_server.command("SCRIPT", "FLUSH")

    assert await queue.put(Message(id="e2", tenant="acme")) is True


async def test_nobody_there_is_an_error_that_says_where_and_shows_no_password() -> None:
    port = free_port()
    address = replace(Address.parse(f"redis://user:geheim@127.0.0.1:{port}"), timeout_s=0.3)
    connection = Connection(address)

    with pytest.raises(BackendError, match=f"127.0.0.1:{port} cannot be reached") as caught:
        await connection.call("PING")

    assert "geheim" not in str(caught.value) + repr(address)
    await connection.aclose()


async def test_a_wrong_password_is_said_at_once(own_server: RedisServer) -> None:
    own_server.command("ACL", "SETUSER", "turnout", "on", ">right", "~*", "+@all")
    address = Address.parse(f"redis://turnout:wrong@127.0.0.1:{own_server.port}")
    connection = Connection(replace(address, timeout_s=60))
    started = time.monotonic()

    with pytest.raises(BackendError, match="refused the log-in") as caught:
        await connection.call("PING")

    assert "wrong" not in str(caught.value).lower().replace("wrongpass", "")
    assert time.monotonic() - started < 20
    await connection.aclose()


async def test_a_closed_connection_refuses(link: Connection) -> None:
    await link.ready()
    await link.aclose()
    await link.aclose()

    with pytest.raises(BackendError, match="closed"):
        link.call("PING")


async def test_a_lease_that_ends_as_the_connection_is_closed_is_an_error_and_no_hang(link: Connection) -> None:
    queue = RedisQueue(link)
    await queue.put(Message(id="e1", tenant="acme"))
    lease = await queue.take("host:1:a", wait_s=0)
    assert lease is not None

    completing = asyncio.ensure_future(queue.complete(lease))
    closing = asyncio.ensure_future(link.aclose())
    ended = await asyncio.wait_for(asyncio.gather(completing, closing, return_exceptions=True), timeout=20)

    assert isinstance(ended[0], BackendError)


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_a_server_that_may_evict_keys_is_refused(tmp_path: Path, policy: str) -> None:
    with running(tmp_path / "redis", maxmemory="100mb", maxmemory_policy=policy) as server:
        opened = opening(tmp_path, url=server.url)

        with pytest.raises(BackendError, match="noeviction"):
            await RedisQueue.connect(opened)


@pytest.mark.parametrize(
    ("settings", "durability", "said"),
    [
        ({}, Durability.PROCESS, "restart loses everything"),
        ({"save": "3600 1"}, Durability.PROCESS, "snapshots only"),
        ({"appendonly": "yes"}, Durability.PROCESS, "up to a second"),
        ({"appendonly": "yes", "appendfsync": "no"}, Durability.PROCESS, "without fsync"),
        ({"appendonly": "yes", "appendfsync": "always"}, Durability.HOST, "survives the loss of its power"),
        ({"maxmemory": "100mb"}, Durability.PROCESS, "restart loses everything"),
    ],
    ids=["nothing", "snapshots", "everysec", "no-fsync", "always", "maxmemory"],
)
async def test_the_durability_is_what_the_server_is_set_to(
    tmp_path: Path, settings: dict[str, str], durability: Durability, said: str
) -> None:
    with running(tmp_path / "redis", **settings) as server:
        opened = opening(tmp_path, url=server.url)
        queue = await RedisQueue.connect(opened)

        assert queue.durability is durability
        assert said in queue.describe()
        await opened.shared.aclose()


async def test_queue_journal_and_state_share_a_server(tmp_path: Path, redis_server: RedisServer) -> None:
    opened = opening(tmp_path, url=redis_server.url)

    first, second = await asyncio.gather(Server.of(opened), Server.of(opened))

    assert first is second
    await opened.shared.aclose()


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        ({}, "backends.redis.url"),
        ({"url": "http://127.0.0.1"}, "backends.redis.url"),
        ({"url": "redis://127.0.0.1/3"}, "backends.redis.url"),
        ({"url": "redis://127.0.0.1:port"}, "backends.redis.url"),
        ({"url": "redis://127.0.0.1", "tls_ca_file": "ca.pem"}, "backends.redis.url"),
        ({"url": "rediss://127.0.0.1", "tls_ca_file": "/nowhere/ca.pem"}, "backends.redis.tls_ca_file"),
        ({"url": "redis://127.0.0.1", "prefix": "two words"}, "backends.redis.prefix"),
        ({"url": "redis://127.0.0.1", "shards": 0}, "backends.redis.shards"),
        ({"url": "redis://127.0.0.1", "timeout": 0}, "backends.redis.timeout"),
        ({"url": "redis://127.0.0.1", "shard": 2}, "backends.redis.shard"),
    ],
    ids=str,
)
async def test_a_wrong_option_is_named(tmp_path: Path, options: dict[str, object], setting: str) -> None:
    with pytest.raises(SettingsError, match=f"^{setting}: ") as caught:
        await RedisQueue.connect(opening(tmp_path, **options))

    assert caught.value.setting == setting


async def test_another_number_of_shards_than_the_queue_was_made_with_is_refused(
    tmp_path: Path, redis_server: RedisServer, prefix: str
) -> None:
    first = opening(tmp_path, url=redis_server.url, prefix=prefix, shards=2)
    await RedisQueue.connect(first)
    second = opening(tmp_path, url=redis_server.url, prefix=prefix, shards=3)

    with pytest.raises(SettingsError, match="set it to 2") as caught:
        await RedisQueue.connect(second)

    assert caught.value.setting == "backends.redis.shards"
    await first.shared.aclose()
    await second.shared.aclose()


def test_slots_are_those_of_the_specification() -> None:
    assert slot_of(b"123456789") == 0x31C3 % 16384
    assert slot_of(b"{user1000}.following") == slot_of(b"user1000")
    assert slot_of(b"foo{}{bar}") == crc_hqx(b"foo{}{bar}", 0) % 16384
    assert slot_of(b"foo{{bar}}zap") == slot_of(b"{bar")
