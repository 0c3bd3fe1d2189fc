"""Journal and state on a real Redis Cluster: the journal on one node, state spread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from turnout.interfaces.state import StateScope
from turnout.model.payload import Encoded
from turnout.testing.clock import ManualClock
from turnout.testing.journal import JournalContract, MakeJournal
from turnout.testing.state import StateStoreContract
from turnout_ecs.connection import Connection
from turnout_ecs.journal.journal import RedisJournal
from turnout_ecs.options import Address
from turnout_ecs.state.state import RedisState
from turnout_ecs.testing.ageing import AgeingClock
from turnout_ecs.testing.clusters import RedisCluster


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with RedisCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def cluster(started: RedisCluster) -> RedisCluster:
    started.everywhere("FLUSHALL")
    return started


@pytest_asyncio.fixture
async def connection(cluster: RedisCluster) -> AsyncIterator[Connection]:
    connection = Connection(Address.parse(cluster.url))
    yield connection
    await connection.aclose()


class TestRedisJournalInACluster(JournalContract):
    @pytest.fixture
    def make_journal(self, connection: Connection) -> MakeJournal:
        return lambda: RedisJournal(connection)


class TestRedisStateInACluster(StateStoreContract):
    @pytest.fixture
    def clock(self, cluster: RedisCluster) -> ManualClock:
        return AgeingClock(cluster.servers)

    @pytest.fixture
    def store(self, connection: Connection) -> RedisState:
        return RedisState(connection)

    @pytest.fixture
    def another(self, connection: Connection) -> RedisState:
        return RedisState(connection)


async def test_scopes_are_spread_over_the_nodes(cluster: RedisCluster, connection: Connection) -> None:
    state = RedisState(connection)
    scopes = [StateScope(tenant=f"t{n}", instance="orders") for n in range(60)]

    await asyncio.gather(*(state.set(scope, "key", Encoded(json=b"1"), operation="1") for scope in scopes))

    assert all(size > 0 for size in cluster.everywhere("DBSIZE"))
    assert [await state.get(scope, "key") for scope in scopes] == [Encoded(json=b"1")] * 60
