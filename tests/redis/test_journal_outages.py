"""The journal behind a network that cuts, swallows and half-closes: nothing lost, nothing twice, no gap."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from turnout.interfaces.journal import Row
from turnout.interfaces.secrets import Secret
from turnout_ecs.connection import Connection
from turnout_ecs.journal.journal import RedisJournal
from turnout_ecs.options import Address, RedisOptions
from turnout_ecs.testing.servers import RedisServer

from tests.chaos.proxy import Proxy, proxied

_TIMEOUT_S = 0.3
_ROWS = 150


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest_asyncio.fixture
async def proxy(redis: RedisServer) -> AsyncIterator[Proxy]:
    redis.command("FLUSHALL")
    async with proxied("127.0.0.1", redis.port) as proxy:
        yield proxy


@asynccontextmanager
async def journal_behind(port: int) -> AsyncIterator[RedisJournal]:
    async def as_it_is(written: str) -> Secret:
        return Secret(written)

    options = RedisOptions(url=f"redis://127.0.0.1:{port}", timeout=_TIMEOUT_S)
    connection = Connection(await Address.of(options, as_it_is))
    journal = RedisJournal(connection)
    yield journal
    await journal.close()
    await connection.aclose()


async def _write(journal: RedisJournal, execution: str) -> None:
    """Rows of many sizes, some beside the stream, with a barrier now and then."""
    assert await journal.begin(execution, [Row("step", b"0")])
    await journal.open(execution, 1)
    for number in range(1, _ROWS):
        body = str(number).encode().ljust(number % 7 * 4_000, b" ")
        await journal.append(execution, 1, [Row("step", body)])
        if number % 5 == 0:
            await journal.barrier(execution, 1)
    await journal.barrier(execution, 1)


async def _check(redis: RedisServer, executions: list[str]) -> None:
    async with journal_behind(redis.port) as reader:
        for execution in executions:
            assert [int(row.body) for row in await reader.rows(execution)] == list(range(_ROWS))


async def _cut_in_replies(proxy: Proxy) -> None:
    chance = random.Random(5)
    for _ in range(12):
        proxy.cut_in_reply(chance.randrange(1, 60))
        await asyncio.sleep(0.02)


async def _half_close(proxy: Proxy) -> None:
    for _ in range(8):
        proxy.half_close()
        await asyncio.sleep(0.03)


async def _refuse(proxy: Proxy) -> None:
    await asyncio.sleep(0.01)
    async with proxy.refusing():
        await asyncio.sleep(4 * _TIMEOUT_S)


async def _swallow(proxy: Proxy) -> None:
    await asyncio.sleep(0.01)
    async with proxy.silent():
        await asyncio.sleep(4 * _TIMEOUT_S)


@pytest.mark.parametrize("trouble", [_cut_in_replies, _half_close, _refuse, _swallow])
async def test_an_outage_only_delays(
    redis: RedisServer, proxy: Proxy, trouble: Callable[[Proxy], Awaitable[None]]
) -> None:
    executions = [f"e{n}" for n in range(6)]

    async with journal_behind(proxy.address[1]) as journal:
        await asyncio.gather(trouble(proxy), *(_write(journal, execution) for execution in executions))

    assert proxy.accepted > 1
    await _check(redis, executions)
