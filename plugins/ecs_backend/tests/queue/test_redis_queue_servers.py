"""The queue's contract where the server is guarded, encrypted or a cluster."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from turnout.errors import BackendError
from turnout.interfaces.opening import Opening
from turnout.interfaces.queue import Message
from turnout.testing.queue import LEASE_S, MAX_ATTEMPTS, MakeQueue, QueueContract
from turnout_ecs.connection import Connection
from turnout_ecs.options import Address, RedisOptions
from turnout_ecs.queue.queue import RedisQueue
from turnout_ecs.server import Server
from turnout_ecs.testing.clusters import RedisCluster
from turnout_ecs.testing.servers import RedisServer, free_port
from turnout_ecs.testing.tls import find_binary_with_tls, write_certificate

README = Path(__file__).parents[2] / "README.md"


def rules() -> list[str]:
    """What the README gives the user."""
    text = re.search(r"ACL SETUSER turnout (.*?)\n```", README.read_text("utf-8"), re.DOTALL)
    assert text is not None
    return text[1].replace("\\\n", " ").split()


def queues(connection: Connection, *, shards: int) -> MakeQueue:
    return lambda clock, policies: RedisQueue(
        connection, shards=shards, clock=clock, lease_s=LEASE_S, max_attempts=MAX_ATTEMPTS, policies=policies
    )


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RedisServer, RedisOptions]]:
    """A server with TLS, and the options of a user who may do what the README says."""
    directory = tmp_path_factory.mktemp("tls")
    binary = find_binary_with_tls()
    if binary is None:
        pytest.skip("no redis-server or valkey-server built with TLS on the PATH")
    port = free_port()
    settings = {"tls-port": str(port), **write_certificate(directory)}
    with RedisServer(directory, binary=binary, settings=settings) as server:
        server.command("ACL", "SETUSER", "turnout", *rules())
        ca_file = directory / "ca.pem"
        yield server, RedisOptions(url=f"rediss://turnout:secret@localhost:{port}", tls_ca_file=ca_file)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with RedisCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


class TestRedisQueueEncryptedAsARestrictedUser(QueueContract):
    @pytest_asyncio.fixture
    async def connection(
        self, encrypted: tuple[RedisServer, RedisOptions], tmp_path: Path
    ) -> AsyncIterator[Connection]:
        server, options = encrypted
        server.command("FLUSHALL")
        connection = Connection(await Address.of(options, Opening(directory=tmp_path).secret))
        yield connection
        await connection.aclose()

    @pytest.fixture
    def make_queue(self, connection: Connection) -> MakeQueue:
        return queues(connection, shards=1)


async def test_a_certificate_of_an_unknown_authority_is_refused(
    encrypted: tuple[RedisServer, RedisOptions], tmp_path: Path
) -> None:
    _, options = encrypted
    opening = Opening(directory=tmp_path, name="redis", options={"url": options.url})

    with pytest.raises(BackendError, match="certificate") as caught:
        await RedisQueue.connect(opening)

    assert "secret" not in str(caught.value)


async def test_the_restricted_user_opens_the_queue_and_its_class_is_known(
    encrypted: tuple[RedisServer, RedisOptions], tmp_path: Path
) -> None:
    _, options = encrypted
    opening = Opening(
        directory=tmp_path, name="redis", options={"url": options.url, "tls_ca_file": str(options.tls_ca_file)}
    )

    queue = await RedisQueue.connect(opening)

    assert "neither AOF nor snapshots" in queue.describe()
    await queue.close()
    await opening.shared.aclose()


class TestRedisQueueInACluster(QueueContract):
    @pytest_asyncio.fixture
    async def connection(self, cluster: RedisCluster) -> AsyncIterator[Connection]:
        cluster.everywhere("FLUSHALL")
        connection = Connection(Address.parse(cluster.url))
        yield connection
        await connection.aclose()

    @pytest.fixture
    def make_queue(self, connection: Connection) -> MakeQueue:
        return queues(connection, shards=1)


async def test_shards_are_spread_over_the_masters(cluster: RedisCluster, tmp_path: Path) -> None:
    cluster.everywhere("FLUSHALL")
    opening = Opening(directory=tmp_path, name="redis", options={"url": cluster.url, "shards": 12})
    queue = await RedisQueue.connect(opening)

    for n in range(60):
        await queue.put(Message(id=f"e{n}", tenant=f"t{n}"))
    stats = await queue.stats()
    taken = {lease.message.id for _ in range(60) for lease in await queue.take_many("w", limit=1, wait_s=0)}

    assert all(size > 0 for size in cluster.everywhere("DBSIZE"))
    assert (stats.ready, len(stats.shards), len(taken)) == (60, 12, 60)
    assert (await Server.of(opening)).facts.masters == 3
    await queue.close()
    await opening.shared.aclose()
