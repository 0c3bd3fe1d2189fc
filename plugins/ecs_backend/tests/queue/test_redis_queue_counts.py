"""What the scripts count: after any sequence of calls it is what counting anew from the messages alone comes to."""

from __future__ import annotations

import random
import socket
from collections.abc import AsyncIterator, Iterator

import hiredis
import pytest
import pytest_asyncio
from turnout.interfaces.queue import Concurrency, Debounce, Lease, Message, Rate
from turnout.model.tenancy import Policies, TenantPolicy
from turnout.testing.clock import ManualClock
from turnout_ecs.connection import Connection
from turnout_ecs.options import Address
from turnout_ecs.queue.queue import RedisQueue
from turnout_ecs.queue.shards import Shard
from turnout_ecs.testing.servers import RedisServer

from .recount import faults

IDS = [f"e{n}" for n in range(14)]
WORKERS = ["host:1:a", "host:2:b"]
POLICIES = Policies(tenants={"b": TenantPolicy(weight=2, in_flight=3)})
DELAYS = [0.0, 0.0, 1.0, 5.0, 40.0]
CONCURRENCY = [Concurrency(key="erp", most=1), Concurrency(key="crm", most=2), Concurrency(key="crm", most=3)]
RATES = [
    Rate(key="mail", most=1, window_s=5.0),
    Rate(key="mail", most=2, window_s=5.0),
    Rate(key="x", most=2, window_s=20.0),
]
DEBOUNCES = [Debounce(key="sync", wait_s=5.0, longest_s=8.0), Debounce(key="sync", wait_s=0.0)]


class Walk:
    """Calls at random, with takers that are waiting and do not answer, or are gone."""

    def __init__(self, queue: RedisQueue, clock: ManualClock, seed: int) -> None:
        self.queue = queue
        self.clock = clock
        self.random = random.Random(seed)
        self.leases: list[Lease] = []
        self.takers = 0

    @property
    def shard(self) -> Shard:
        (shard,) = self.queue._shards.all
        return shard

    async def step(self) -> None:
        pick = self.random
        delay_s, id = pick.choice(DELAYS), pick.choice(IDS)
        await pick.choice([self._put, self._put, self._take, self._end, self._end, self._look, self._wait])(id, delay_s)
        if pick.random() < 0.2:
            self.clock.advance(pick.choice([0.5, 1.0, 3.0, 5.0, 12.0, 31.0]))

    async def drain(self) -> list[str]:
        """Take and complete all there is, as long as it takes; the ids of those that never came."""
        for id in IDS:
            await self.queue.wake(id)
        for _ in range(100):
            self.clock.advance(31.0)
            await self.queue.reap(workers=WORKERS)
            while leases := await self.queue.take_many("host:3:c", limit=5, wait_s=0):
                for lease in leases:
                    await self.queue.complete(lease)
        dead = {letter.message.id for letter in await self.queue.dead()}
        gone = set(await self.queue.missing(IDS))
        return [id for id in IDS if id not in dead and id not in gone]

    async def _put(self, id: str, delay_s: float) -> None:
        pick = self.random
        message = Message(
            id=id,
            tenant=pick.choice("aab"),
            priority=pick.choice([0, 0, 1]),
            concurrency=tuple({one.key: one for one in pick.sample(CONCURRENCY, pick.choice([0, 1, 1, 2]))}.values()),
            rates=tuple({one.key: one for one in pick.sample(RATES, pick.choice([0, 0, 1, 2]))}.values()),
            order=pick.choice(["", "", "one"]),
            debounce=pick.choice([None, None, None, *DEBOUNCES]),
        )
        await self.queue.put(message, delay_s=delay_s)

    async def _take(self, id: str, _: float) -> None:
        if self.random.random() < 0.15:
            lease = await self.queue.claim(self.random.choice(WORKERS), id)
            self.leases += [lease] if lease is not None else []
        else:
            limit = self.random.choice([1, 1, 3])
            self.leases += await self.queue.take_many(self.random.choice(WORKERS), limit=limit, wait_s=0)

    async def _end(self, _: str, delay_s: float) -> None:
        if not self.leases:
            return
        lease = self.leases.pop(self.random.randrange(len(self.leases)))
        match self.random.choice(["complete", "complete", "release", "decline", "fail", "fail", "extend", "hand back"]):
            case "complete":
                await self.queue.complete(lease)
            case "release":
                await self.queue.release(lease, delay_s=self.random.choice([None, delay_s]))
            case "decline":
                await self.queue.decline(lease, delay_s=delay_s)
            case "fail":
                await self.queue.fail(lease, reason="made up", delay_s=delay_s)
            case "extend":
                await self.queue.extend([lease])
                self.leases.append(lease)
            case _:
                await self.shard.run("hand_back", lease.message.id, lease.token)

    async def _look(self, id: str, _: float) -> None:
        match self.random.choice(["wake", "cancel", "reap", "reap", "revive", "revive", "drop", "stats"]):
            case "wake":
                await self.queue.wake(id)
            case "cancel":
                await self.queue.cancel(id)
            case "reap":
                await self.queue.reap(workers=self.random.choice([[], WORKERS[:1]]))
            case "revive":
                await self.queue.revive(id)
            case "drop":
                await self.queue.drop(id)
            case _:
                await self.queue.stats()

    async def _wait(self, _: str, __: float) -> None:
        self.takers += 1
        member = f"{self.random.choice(['deaf', 'gone'])} {self.takers} {self.random.choice(WORKERS)}"
        await self.shard.run("take", self.random.choice(WORKERS), 1, member, 3.0)


@pytest.fixture
def deaf(redis_server: RedisServer) -> Iterator[None]:
    """A worker that is stopped: it is subscribed, and reads nothing."""
    with socket.create_connection(("127.0.0.1", redis_server.port)) as connection:
        connection.sendall(hiredis.pack_command(("SUBSCRIBE", "deaf")))  # type: ignore[arg-type]
        connection.recv(4096)
        yield


@pytest_asyncio.fixture
async def connection(redis_server: RedisServer) -> AsyncIterator[Connection]:
    connection = Connection(Address.parse(redis_server.url))
    yield connection
    await connection.aclose()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(start=1000.0)


@pytest.fixture
def queue(connection: Connection, prefix: str, clock: ManualClock) -> RedisQueue:
    return RedisQueue(connection, prefix=prefix, clock=clock, max_attempts=3, policies=POLICIES)


@pytest.mark.usefixtures("deaf")
@pytest.mark.parametrize("seed", range(4))
async def test_nothing_is_misplaced_miscounted_or_forgotten(
    redis_server: RedisServer, queue: RedisQueue, clock: ManualClock, seed: int
) -> None:
    walk = Walk(queue, clock, seed)

    for _ in range(400):
        await walk.step()
        assert faults(redis_server, walk.shard, clock.now()) == []

    assert await walk.drain() == []


async def test_none_of_an_order_is_handed_out_while_one_claimed_out_of_its_turn_runs(queue: RedisQueue) -> None:
    for id in ("e1", "e2", "e3"):
        await queue.put(Message(id=id, tenant="acme", order="one"))
    claimed = await queue.claim("host:1:a", "e2")
    assert claimed is not None

    meanwhile = await queue.take("host:2:b", wait_s=0)
    await queue.release(claimed, delay_s=60)
    after = await queue.take("host:2:b", wait_s=0)

    assert meanwhile is None
    assert after is not None
    assert after.message.id == "e1"


async def test_one_that_was_replaced_does_not_hold_up_the_others_of_its_order(queue: RedisQueue) -> None:
    debounce = Debounce(key="sync", wait_s=60)
    await queue.put(Message(id="e1", tenant="acme", order="one", debounce=debounce))
    await queue.put(Message(id="e2", tenant="acme", order="one"))

    await queue.put(Message(id="e3", tenant="acme", order="one", debounce=debounce))
    leases = await queue.take_many("host:1:a", limit=3, wait_s=0)

    assert {lease.message.id: lease.superseded_by for lease in leases} == {"e1": "e3", "e2": ""}
