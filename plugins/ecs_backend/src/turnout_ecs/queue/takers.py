"""Workers of this process that wait: each is registered as idle with the servers, which send it a lease.

What is sent is leased for a second. The receiver renews it at once, without waiting for the answer; where it died
before, the message comes back that soon, and no attempt is counted. A server that hears that nobody listens to a taker
any more goes on to the next.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from turnout.errors import BackendError
from turnout.interfaces.clock import Clock, SystemClock
from turnout.interfaces.queue import Lease

from turnout_ecs.connection import Connection
from turnout_ecs.queue.records import lease_of, read_record, token_of
from turnout_ecs.queue.shards import Shard

__all__ = ["Takers"]

_POLL_S: Final = 1.0
"""So often a waiting taker looks by itself: for what came back from a taker that died, and to be believed to wait."""

_BELIEVED_S: Final = 3.0
"""So long a server believes that a taker waits."""

_UNREADABLE_S: Final = 5.0
"""So long a message that this version cannot read is left to workers of a newer one."""

_log = logging.getLogger("turnout.redis")


@dataclass(slots=True, eq=False)
class _Taker:
    number: str
    worker: str
    registered: set[Shard] = field(default_factory=set)
    got: list[tuple[Shard, Lease]] = field(default_factory=list)
    wakened: asyncio.Future[None] | None = None

    def wake(self) -> None:
        if self.wakened is not None and not self.wakened.done():
            self.wakened.set_result(None)


class Takers:
    """Those of one event loop."""

    def __init__(self, connection: Connection, shards: Sequence[Shard], *, clock: Clock | None) -> None:
        self._connection = connection
        self._shards = shards
        self._clock = clock or SystemClock()
        self._loop = asyncio.get_running_loop()
        # Waiting is timed by the loop's own clock, which nobody sets back, unless a test has brought one.
        self._now = self._loop.time if isinstance(self._clock, SystemClock) else self._clock.now
        self._name = secrets.token_hex(8)
        self._numbers = itertools.count(1)
        self._takers: dict[str, _Taker] = {}
        self._turn = 0
        self._closed = False
        self._complained = False
        self._listening: asyncio.Task[None] | None = None

    async def take(self, worker: str, *, limit: int, wait_s: float) -> Sequence[Lease]:
        if self._closed or limit <= 0:
            return []
        if wait_s <= 0:
            return (await self._attempt(worker, limit, None))[0]
        deadline = self._now() + wait_s
        if self._listening is None:
            self._listening = self._loop.create_task(self._listen(), name="turnout-redis-takers")
        taker = _Taker(str(next(self._numbers)), worker)
        self._takers[taker.number] = taker
        try:
            return await self._take_waiting(taker, limit, deadline)
        finally:
            self._leave(taker)

    def close(self) -> None:
        self._closed = True
        if self._listening is not None:
            self._listening.cancel()
        self.wake()

    def wake(self) -> None:
        """All look again: the connection was lost, or this is the end."""
        for taker in self._takers.values():
            taker.wake()

    async def _take_waiting(self, taker: _Taker, limit: int, deadline: float) -> Sequence[Lease]:
        while not self._closed:
            taker.wakened = self._loop.create_future()
            asked_at = self._now()
            leases, event_s = await self._attempt(taker.worker, limit, taker)
            until = min(deadline, asked_at + min(event_s, _POLL_S))
            if not leases and not taker.got and self._now() < deadline and not self._closed:
                await self._pause(taker.wakened, until)
            fitting = max(limit - len(leases), 0)
            got, taker.got = taker.got[:fitting], taker.got[fitting:]  # what does not fit is handed back
            if leases or got:
                return [*leases, *(lease for _, lease in got)]
            if deadline - self._now() <= 0:
                break
        return []

    async def _pause(self, wakened: asyncio.Future[None], until: float) -> None:
        sleep = self._loop.create_task(self._sleep(until))
        try:
            await asyncio.wait((wakened, sleep), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()

    async def _sleep(self, until: float) -> None:
        # Read in the turn in which the sleep begins: a clock that is moved by hand may have gone on since the task was made.
        await self._clock.sleep(until - self._now())

    async def _attempt(self, worker: str, limit: int, taker: _Taker | None) -> tuple[list[Lease], float]:
        """Ask the shards in turn until one has something. Without: in how many seconds something happens by itself."""
        event_s, first = float("inf"), self._turn
        for n in range(first, first + len(self._shards)):
            shard = self._shards[n % len(self._shards)]
            leases, shard_event_s = await self._ask(shard, worker, limit, taker)
            if leases:
                self._turn = (n + 1) % len(self._shards)
                return leases, 0.0
            if taker is not None and taker.got:
                break
            event_s = min(event_s, shard_event_s)
        return [], event_s

    async def _ask(self, shard: Shard, worker: str, limit: int, taker: _Taker | None) -> tuple[list[Lease], float]:
        """One shard's answer. A script looks at a limited number of messages: it is asked again as long as there may be more."""
        leases, event_s = await self._ask_once(shard, worker, limit, taker)
        while not leases and event_s <= 0 and (taker is None or not taker.got):
            leases, event_s = await self._ask_once(shard, worker, limit, taker)
        return leases, event_s

    async def _ask_once(self, shard: Shard, worker: str, limit: int, taker: _Taker | None) -> tuple[list[Lease], float]:
        member = b"" if taker is None else self._member(shard, taker)
        asking = shard.run("take", worker, limit, member, _BELIEVED_S)
        if taker is not None:
            taker.registered.add(shard)
        try:
            reply = await asyncio.shield(asking)
        except asyncio.CancelledError:
            asking.add_done_callback(partial(self._return_all, shard))
            raise
        event_s = float(reply[0]) if reply[0] else float("inf")
        if len(reply) > 2:
            event_s = 0.0  # there may be more behind those that cannot be read
            if taker is not None:
                taker.registered.discard(shard)
        return self._leases(shard, reply), event_s

    def _member(self, shard: Shard, taker: _Taker) -> bytes:
        return b" ".join((self._channel(shard), taker.number.encode(), taker.worker.encode()))

    def _channel(self, shard: Shard) -> bytes:
        return f"{shard.tag}:to:{self._name}".encode()

    async def _listen(self) -> None:
        self._connection.on_loss(self.wake)
        listening = (
            self._connection.listen(shard.idle_key, self._channel(shard), partial(self._hear, shard))
            for shard in self._shards
        )
        await asyncio.gather(*listening, return_exceptions=True)
        self.wake()  # who asked before was believed not to wait, since nobody listened

    def _hear(self, shard: Shard, sent: bytes) -> None:
        number, seconds, id_bytes, rest = sent.split(b" ", 3)
        id, packed = rest[: int(id_bytes)], rest[int(id_bytes) :]
        taker = self._takers.get(number.decode())
        if not id:
            if taker is not None:
                self._loop.call_later(float(seconds), taker.wake)
            return
        lease = self._read(shard, id, packed, float(seconds))
        if lease is None:
            if taker is not None:
                taker.registered.discard(shard)
                taker.wake()
            return
        if taker is None or self._closed:
            self._hand_back(shard, lease)
            return
        taker.registered.discard(shard)
        taker.got.append((shard, lease))
        shard.run("extend", id, lease.token).add_done_callback(_look)
        taker.wake()

    def _leave(self, taker: _Taker) -> None:
        del self._takers[taker.number]
        for shard in taker.registered:
            self._connection.call("ZREM", shard.idle_key, self._member(shard, taker)).add_done_callback(_look)
        for shard, lease in taker.got:
            self._hand_back(shard, lease)

    def _return_all(self, shard: Shard, asked: asyncio.Future[Any]) -> None:
        if not asked.cancelled() and asked.exception() is None:
            for lease in self._leases(shard, asked.result()):
                self._hand_back(shard, lease)

    def _hand_back(self, shard: Shard, lease: Lease) -> None:
        shard.run("hand_back", lease.message.id, lease.token).add_done_callback(_look)

    def _leases(self, shard: Shard, reply: Sequence[Any]) -> list[Lease]:
        expires_at = float(reply[1])
        read = (self._read(shard, reply[n], reply[n + 1], expires_at) for n in range(2, len(reply), 2))
        return [lease for lease in read if lease is not None]

    def _read(self, shard: Shard, id: bytes, packed: bytes, expires_at: float) -> Lease | None:
        """The lease; None if this version cannot read the message: then it is given back for workers that can."""
        try:
            return lease_of(id, read_record(packed), expires_at=expires_at)
        except BackendError as error:
            if not self._complained:
                self._complained = True
                _log.warning("message %s is left to other workers (as others may be): %s", id.decode(), error)
        token = token_of(packed)
        if token is not None:
            shard.run("decline", id, token, repr(_UNREADABLE_S)).add_done_callback(_look)
        return None


def _look(future: asyncio.Future[Any]) -> None:
    """Where it fails the lease or the registration runs out by itself; a failure that nobody looked at would be logged."""
    if not future.cancelled():
        future.exception()
