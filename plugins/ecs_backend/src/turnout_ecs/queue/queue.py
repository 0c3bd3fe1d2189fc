"""The queue on Redis: every operation one script, one round trip."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self
from weakref import WeakKeyDictionary

from turnout.errors import Overloaded, SettingsError
from turnout.interfaces.clock import Clock
from turnout.interfaces.opening import Opening
from turnout.interfaces.queue import DeadMessage, Lease, LeaseState, Message, Queue, QueueCapability, QueueStats
from turnout.model.durability import Durability
from turnout.model.tenancy import Policies

from turnout_ecs.connection import Connection
from turnout_ecs.queue.completions import Completions
from turnout_ecs.queue.records import dead_message, lease_of, limits_text, lost_lease_of, read_record
from turnout_ecs.queue.shards import Settings, Shard, Shards, pages
from turnout_ecs.queue.takers import Takers
from turnout_ecs.server import Facts, Server

__all__ = ["RedisQueue"]

_PAGE: Final = 200
"""So many messages a script looks at, at most: the server does nothing else meanwhile."""

_TENANTS: Final = 100
"""So many tenants, and priorities of them, `stats` looks at in one script: half a millisecond."""

_STATES: Final[Mapping[bytes, LeaseState]] = {
    b"H": LeaseState.HELD,
    b"L": LeaseState.LOST,
    b"C": LeaseState.CANCELLED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Here:
    """What belongs to one event loop."""

    takers: Takers
    completions: Completions


class RedisQueue(Queue):
    """Implements `Queue` on a Redis server or cluster, for any number of processes. Time is the server's."""

    capabilities: ClassVar[frozenset[QueueCapability]] = frozenset(QueueCapability)

    def __init__(
        self,
        connection: Connection,
        *,
        prefix: str = "turnout",
        shards: int = 1,
        clock: Clock | None = None,
        lease_s: float = 30.0,
        max_attempts: int = 5,
        policies: Policies | None = None,
        facts: Facts | None = None,
    ) -> None:
        self._connection = connection
        self._settings = Settings(
            clock=clock, lease_s=lease_s, max_attempts=max_attempts, policies=policies or Policies()
        )
        self._shards = Shards(connection, prefix, shards, self._settings)
        self._clock = clock
        self._facts = facts
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Here] = WeakKeyDictionary()
        self._closed = False

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        server = await Server.of(opening)
        queue = cls(
            server.connection,
            prefix=server.options.prefix,
            shards=server.options.shards,
            clock=opening.clock,
            lease_s=opening.lease_s,
            max_attempts=opening.max_attempts,
            policies=opening.policies,
            facts=server.facts,
        )
        await queue._check_shards(f"backends.{opening.name or 'redis'}.shards")
        return queue

    @property
    def durability(self) -> Durability:
        return Durability.PROCESS if self._facts is None else self._facts.durability

    def describe(self) -> str:
        return "" if self._facts is None else self._facts.describe()

    async def put(self, message: Message, *, delay_s: float = 0.0, capped: bool = False) -> bool:
        capacity = self._settings.policies.of(message.tenant).capacity if capped else None
        if len(self._shards.all) > 1 and not await self.missing([message.id]):
            return False  # it may be there under the name of another tenant, so in another shard
        added: int = await self._shards.of(message.tenant).run(
            "put",
            message.id,
            message.tenant,
            message.priority,
            repr(max(float(delay_s), 0.0)),
            "" if capacity is None else capacity,
            limits_text(message),
        )
        if added < 0:
            raise Overloaded(
                f"tenant {message.tenant!r} has as many messages waiting as it may have ({capacity}): send more when some "
                f"have run, or raise queue.capacity or queue.tenants.{message.tenant}.capacity"
            )
        return added == 1

    async def room(self, tenant: str) -> int | None:
        capacity = self._settings.policies.of(tenant).capacity
        if capacity is None:
            return None
        waiting = await self._connection.call("HGET", self._shards.of(tenant).counts_key, f"W{tenant}", safe=True)
        return max(capacity - int(waiting or 0), 0)

    async def missing(self, ids: Sequence[str]) -> Sequence[str]:
        missing = list(ids)
        for shard in self._shards.all:
            replies = await asyncio.gather(*(shard.run("missing", *page) for page in pages(missing, _PAGE)))
            missing = [missing[n * _PAGE + place] for n, reply in enumerate(replies) for place in reply]
        return missing

    async def take(self, worker: str, *, wait_s: float) -> Lease | None:
        leases = await self.take_many(worker, limit=1, wait_s=wait_s)
        return leases[0] if leases else None

    async def take_many(self, worker: str, *, limit: int, wait_s: float) -> Sequence[Lease]:
        if self._closed:
            return []
        return await self._here().takers.take(worker, limit=min(limit, _PAGE), wait_s=wait_s)

    async def claim(self, worker: str, id: str) -> Lease | None:
        for reply in await self._shards.ask("claim", id, worker):
            if reply is not None:
                return lease_of(id.encode(), read_record(reply[1]), expires_at=float(reply[0]))
        return None

    async def extend(self, leases: Sequence[Lease]) -> Sequence[LeaseState]:
        states: dict[int, LeaseState] = {}
        by_shard: dict[Shard, list[int]] = {}
        for place, lease in enumerate(leases):
            by_shard.setdefault(self._shards.of(lease.message.tenant), []).append(place)
        parts = [(shard, page) for shard, places in by_shard.items() for page in pages(places, _PAGE)]
        asked = [
            shard.run("extend", *(word for n in page for word in (leases[n].message.id, leases[n].token)))
            for shard, page in parts
        ]
        for (_, page), reply in zip(parts, await asyncio.gather(*asked), strict=True):
            states.update(zip(page, (_STATES[state] for state in reply), strict=True))
        return [states[place] for place in range(len(leases))]

    async def complete(self, lease: Lease) -> bool:
        return await self._here().completions.add(self._shards.of(lease.message.tenant), lease)

    async def release(self, lease: Lease, *, delay_s: float | None = 0.0) -> bool:
        return await self._end(lease, "release", repr(math.inf if delay_s is None else max(float(delay_s), 0.0)))

    async def decline(self, lease: Lease, *, delay_s: float = 0.0) -> bool:
        return await self._end(lease, "decline", repr(max(float(delay_s), 0.0)))

    async def fail(self, lease: Lease, *, reason: str, delay_s: float = 0.0) -> bool:
        return await self._end(lease, "fail", repr(max(float(delay_s), 0.0)), reason)

    async def wake(self, id: str) -> bool:
        return await self._shards.any("wake", id, "")

    async def cancel(self, id: str) -> bool:
        return await self._shards.any("wake", id, "1")

    async def reap(self, *, workers: Collection[str] = ()) -> Sequence[Lease]:
        ended: list[Lease] = []
        for shard in self._shards.all:
            named = await self._held_by(shard, set(workers)) if workers else []
            for page in pages(named, _PAGE):
                words = [word for lease in page for word in (lease.message.id, lease.token)]
                ended += _ended(await shard.run("reap", 0, *words))
            while page_of := _ended(await shard.run("reap", _PAGE)):
                ended += page_of
        return sorted(ended, key=lambda lease: lease.expires_at)

    async def workers(self) -> Sequence[str]:
        holding = [lease.worker for shard in self._shards.all for lease in await self._held_by(shard, None)]
        return list(dict.fromkeys(holding))

    async def stats(self) -> QueueStats:
        """As promised. With more than a hundred tenants it is counted in pages, so not all at one instant."""
        each = await asyncio.gather(*(_counted(shard) for shard in self._shards.all))
        if len(each) == 1:
            return each[0]
        return QueueStats(
            ready=sum(one.ready for one in each),
            delayed=sum(one.delayed for one in each),
            leased=sum(one.leased for one in each),
            dead=sum(one.dead for one in each),
            oldest_ready_s=max(one.oldest_ready_s for one in each),
            held=sum(one.held for one in each),
            tenants={tenant: number for one in each for tenant, number in one.tenants.items()},
            shards={str(n): one for n, one in enumerate(each)},
        )

    async def dead(self, *, limit: int = 100) -> Sequence[DeadMessage]:
        each = await asyncio.gather(*(self._dead_of(shard, limit) for shard in self._shards.all))
        return sorted(itertools.chain(*each), key=lambda letter: letter.died_at, reverse=True)[:limit]

    async def revive(self, id: str) -> bool:
        return await self._shards.any("revive", id)

    async def drop(self, id: str) -> bool:
        return await self._shards.any("drop", id)

    async def close(self) -> None:
        """As promised; the connection stays open, it belongs to the caller."""
        self._closed = True
        for loop, here in list(self._loops.items()):
            if loop is asyncio.get_running_loop():
                here.takers.close()
            elif not loop.is_closed():
                loop.call_soon_threadsafe(here.takers.close)
        await asyncio.sleep(0)

    def _here(self) -> _Here:
        loop = asyncio.get_running_loop()
        if loop not in self._loops:
            takers = Takers(self._connection, self._shards.all, clock=self._clock)
            self._loops[loop] = _Here(takers=takers, completions=Completions())
        return self._loops[loop]

    async def _end(self, lease: Lease, name: str, *args: str) -> bool:
        ended: int = await self._shards.of(lease.message.tenant).run(name, lease.message.id, lease.token, *args)
        return ended == 1

    async def _dead_of(self, shard: Shard, limit: int) -> Collection[DeadMessage]:
        """Read page by page: one that died meanwhile moves the others on, so that some are seen twice."""
        letters: dict[bytes, DeadMessage] = {}
        for first in range(0, limit, _PAGE):
            page = list(pages(await shard.run("dead", first, min(_PAGE, limit - first)), 2))
            letters |= {id: dead_message(id, read_record(packed)) for id, packed in page}
            if len(page) < _PAGE:
                break
        return letters.values()

    async def _held_by(self, shard: Shard, workers: set[str] | None) -> list[Lease]:
        """The leases of these workers, or all; read page by page, so what changes meanwhile may or may not be among them."""
        held: dict[bytes, Lease] = {}
        for first in itertools.count(0, _PAGE):
            page = list(pages(await shard.run("holders", first, _PAGE), 2))
            if not page:
                return list(held.values())
            for id, packed in page:
                record = read_record(packed)
                if workers is None or record.worker in workers:
                    held[id] = lost_lease_of(id, record, expires_at=0.0)
        raise AssertionError("the pages come to an end")

    async def _check_shards(self, setting: str) -> None:
        """`SettingsError` if messages are where the number of shards that is set now would not look for them."""
        wanted = len(self._shards.all)
        (before,) = {await self._settings.configure(shard) for shard in self._shards.all[:1]}
        if before == wanted:
            return
        raise SettingsError(
            f"{setting}: it is {wanted}, but this queue was made with {before}: a tenant's messages would not be found; set it to {before}, "
            f"or use another prefix",
            setting=setting,
        )


def _ended(reply: Sequence[Any]) -> list[Lease]:
    return [
        lost_lease_of(id, read_record(packed), expires_at=float(expires_at))
        for id, packed, expires_at in pages(reply, 3)
    ]


async def _counted(shard: Shard) -> QueueStats:
    tenants: Counter[str] = Counter()
    oldest_s, after = 0.0, b""
    while True:
        after, ready, delayed, leased, dead, held, page_oldest_s, *page = await shard.run("stats", after, _TENANTS)
        oldest_s = max(oldest_s, float(page_oldest_s))
        for tenant, number in pages(page, 2):
            tenants[tenant.decode()] += number
        if not after:
            break
    return QueueStats(
        ready=ready,
        delayed=delayed,
        leased=leased,
        dead=dead,
        oldest_ready_s=oldest_s,
        held=held,
        tenants=dict(tenants),
    )
