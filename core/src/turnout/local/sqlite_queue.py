"""The queue in SQLite: several processes of one machine share it, and its messages outlive them all.

Each call is one transaction over `turnout.local.sqlite_lines`, which knows where messages stand; here is what is around it:
takers that wait, other processes, and callers that give up.
"""

from __future__ import annotations

import asyncio
import json
import math
import sqlite3
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, ClassVar, Final, Self, TypeVar

from turnout.errors import Overloaded
from turnout.interfaces.clock import Clock, SystemClock
from turnout.interfaces.opening import Opening
from turnout.interfaces.queue import DeadMessage, Lease, LeaseState, Message, Queue, QueueCapability, QueueStats
from turnout.local.database import Database
from turnout.local.project_database import project_database
from turnout.local.sqlite_gates import NEXT_GATE, decode_limits
from turnout.local.sqlite_lines import ANYTHING, COLUMNS, MIGRATIONS, Lines
from turnout.local.takers import Takers
from turnout.model.durability import Durability
from turnout.model.tenancy import Policies

__all__ = ["SQLiteQueue"]

T = TypeVar("T")

_POLL_S: Final = 0.05
"""How often a waiting taker looks whether another process has written: 20 times a second a few microseconds."""

_NEXT_DELAYED: Final = "SELECT at FROM queue_messages WHERE state = 'delayed' AND at IS NOT NULL ORDER BY at LIMIT 1"
_NEXT_EXPIRY: Final = "SELECT at FROM queue_messages WHERE state = 'leased' AND attempts < ? ORDER BY at LIMIT 1"
_LEASED: Final = f"SELECT {COLUMNS} FROM queue_messages WHERE state = 'leased'"  # noqa: S608 - made of constants
_WORKERS: Final = "SELECT DISTINCT worker FROM queue_messages WHERE state = 'leased' ORDER BY worker"
_BY_STATE: Final = "SELECT state, COUNT(*), MIN(at) FROM queue_messages GROUP BY state"
_BY_LANE: Final = """SELECT tenant, lane, COUNT(*) FROM queue_messages WHERE state IN ('ready', 'held') AND lane != ''
    GROUP BY tenant, lane"""
_BY_TENANT: Final = """SELECT tenant, COUNT(*) FROM queue_messages
    WHERE state IN ('ready', 'held', 'behind') OR (state = 'delayed' AND at <= ?) GROUP BY tenant"""
_DUE_COUNT: Final = "SELECT COUNT(*), MIN(at) FROM queue_messages WHERE state = 'delayed' AND at <= ?"
_HELD: Final = "id = ? AND token = ? AND state = 'leased'"


class SQLiteQueue(Queue):
    """Implements `Queue`. One object belongs to one event loop; processes and threads each make their own.

    With a `full` database a message has survived loss of power once `put` returns; what a worker does with it later
    only survives the processes: a power cut takes those with it, and the message is handed out again.
    """

    on_this_machine: ClassVar[bool] = True

    capabilities: ClassVar[frozenset[QueueCapability]] = frozenset(QueueCapability)

    def __init__(
        self,
        database: Database,
        *,
        clock: Clock | None = None,
        lease_s: float = 30.0,
        max_attempts: int = 5,
        policies: Policies | None = None,
    ) -> None:
        self._policies = policies or Policies()
        database.migrate("queue", MIGRATIONS)
        self._database = database
        self._clock = clock or SystemClock()
        self._lease_s = lease_s
        self._max_attempts = max_attempts
        self._takers = Takers(self._clock, next_due=self._next_due, changed=database.change_mark, poll_s=_POLL_S)

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        return cls(
            project_database(opening),
            clock=opening.clock,
            lease_s=opening.lease_s,
            max_attempts=opening.max_attempts,
            policies=opening.policies,
        )

    @property
    def durability(self) -> Durability:
        return self._database.durability

    async def put(self, message: Message, *, delay_s: float = 0.0, capped: bool = False) -> bool:
        due_at = self._clock.now() + max(delay_s, 0.0)

        def add(lines: Lines) -> bool:
            if capped and lines.room(message.tenant) == 0 and lines.find("id = ?", message.id) is None:
                raise Overloaded(f"as many messages of tenant {message.tenant!r} wait as may wait: try again later")
            return lines.insert(message, due_at)

        return await self._change(add)

    async def room(self, tenant: str) -> int | None:
        with self._database.snapshot() as connection:
            return Lines(connection, self._policies, now=self._clock.now()).room(tenant)

    async def missing(self, ids: Sequence[str]) -> Sequence[str]:
        sql = "SELECT id FROM queue_messages WHERE id IN (SELECT value FROM json_each(?))"
        there = {id for (id,) in self._database.query(sql, (json.dumps(list(ids)),))}
        return [id for id in ids if id not in there]

    async def take(self, worker: str, *, wait_s: float) -> Lease | None:
        leases = await self.take_many(worker, limit=1, wait_s=wait_s)
        return leases[0] if leases else None

    async def take_many(self, worker: str, *, limit: int, wait_s: float) -> Sequence[Lease]:
        return await self._takers.take(partial(self._try_to_take, worker, limit), wait_s=wait_s)

    async def claim(self, worker: str, id: str) -> Lease | None:
        now = self._clock.now()

        def lease(lines: Lines) -> list[Lease]:
            row = lines.find("id = ?", id)
            if row is None or row.state == "dead":
                return []
            expired = row.at is not None and row.at <= now and row.attempts < self._max_attempts
            if row.state == "leased" and not expired:
                return []
            return [lines.lease(row, worker, now + self._lease_s)]

        leases = await self._leasing(lease)
        return leases[0] if leases else None

    async def extend(self, leases: Sequence[Lease]) -> Sequence[LeaseState]:
        expires_at = self._clock.now() + self._lease_s
        sql = f"UPDATE queue_messages SET at = ? WHERE {_HELD} RETURNING cancelled"  # noqa: S608 - made of constants

        def renew(connection: sqlite3.Connection) -> list[LeaseState]:
            rows = (connection.execute(sql, (expires_at, lease.message.id, lease.token)).fetchone() for lease in leases)
            return [LeaseState.LOST if not row else LeaseState.CANCELLED if row[0] else LeaseState.HELD for row in rows]

        return await self._database.write(renew, durable=False)

    async def complete(self, lease: Lease) -> bool:
        return await self._remove(_HELD, lease.message.id, lease.token, durable=False)

    async def release(self, lease: Lease, *, delay_s: float | None = 0.0) -> bool:
        return await self._give_back(lease, "0", delay_s)

    async def decline(self, lease: Lease, *, delay_s: float = 0.0) -> bool:
        return await self._give_back(lease, "attempts - 1", delay_s)

    async def _give_back(self, lease: Lease, attempts: str, delay_s: float | None) -> bool:
        now = self._clock.now()
        due_at = None if delay_s is None else now + max(delay_s, 0.0)

        def give_back(lines: Lines) -> bool:
            sql = f"UPDATE queue_messages SET attempts = {attempts} WHERE {_HELD}"  # noqa: S608 - made of constants
            row = lines.change(sql, lease.message.id, lease.token)
            if row is not None:
                lines.line_up(row, now if row.woken or row.cancelled else due_at)
            return row is not None

        return await self._change(give_back)

    async def fail(self, lease: Lease, *, reason: str, delay_s: float = 0.0) -> bool:
        now = self._clock.now()

        def give_back(lines: Lines) -> bool:
            row = lines.find(_HELD, lease.message.id, lease.token)
            if row is None:
                return False
            if row.attempts >= self._max_attempts:
                lines.bury(row, reason)
            else:
                lines.line_up(row, now if row.cancelled else now + max(delay_s, 0.0))
            return True

        return await self._change(give_back)

    async def wake(self, id: str) -> bool:
        return await self._nudge(id, "woken = 1")

    async def cancel(self, id: str) -> bool:
        return await self._nudge(id, "woken = 1, cancelled = 1")

    async def reap(self, *, workers: Collection[str] = ()) -> Sequence[Lease]:
        sql = f"{_LEASED} AND (at <= ? OR worker IN (SELECT value FROM json_each(?))) ORDER BY at DESC"  # noqa: S608
        lost = (self._clock.now(), json.dumps(list(workers)))
        if not self._database.query(sql, lost):
            return []

        def end(lines: Lines) -> list[Lease]:
            return [lines.end_lease(row, max_attempts=self._max_attempts) for row in lines.select(sql, *lost)]

        ended = await self._change(end)
        return ended[::-1]  # ended from the youngest to the oldest, which is now the first of all

    async def workers(self) -> Sequence[str]:
        return [worker for (worker,) in self._database.query(_WORKERS)]

    async def stats(self) -> QueueStats:
        now = self._clock.now()
        with self._database.snapshot() as connection:
            lines = Lines(connection, self._policies, now=now)
            rows = connection.execute(_BY_STATE).fetchall()
            due, first_due = connection.execute(_DUE_COUNT, (now,)).fetchone()
            lanes = connection.execute(_BY_LANE).fetchall()
            full = sum(max(count - max(lines.free(tenant, lane), 0), 0) for tenant, lane, count in lanes)
            tenants = dict(connection.execute(_BY_TENANT, (now,)).fetchall())
        counts = {state: count for state, count, _ in rows}
        oldest = [at for state, _, at in rows if state in ("ready", "held", "behind")]
        oldest += [] if first_due is None else [first_due]
        held = counts.get("behind", 0) + full
        return QueueStats(
            ready=sum(tenants.values()) - held,
            delayed=counts.get("delayed", 0) - due,
            leased=counts.get("leased", 0),
            dead=counts.get("dead", 0),
            oldest_ready_s=max(now - min(oldest, default=now), 0.0),
            held=held,
            tenants=tenants,
        )

    async def dead(self, *, limit: int = 100) -> Sequence[DeadMessage]:
        rows = self._database.query(
            "SELECT id, tenant, priority, limits, attempts, reason, at FROM queue_messages WHERE state = 'dead' "
            "ORDER BY at DESC, seq DESC LIMIT ?",
            (limit,),
        )
        return [
            DeadMessage(
                message=decode_limits(limits, id=id, tenant=tenant, priority=priority),
                attempts=attempts,
                reason=reason,
                died_at=at,
            )
            for id, tenant, priority, limits, attempts, reason, at in rows
        ]

    async def revive(self, id: str) -> bool:
        def line_up(lines: Lines) -> bool:
            row = lines.find("id = ? AND state = 'dead'", id)
            if row is not None:
                lines.revive(row)
            return row is not None

        return await self._change(line_up)

    async def drop(self, id: str) -> bool:
        return await self._remove("id = ?", id)

    async def close(self) -> None:
        """As promised; the database stays open, it belongs to the caller."""
        self._takers.close()

    async def _try_to_take(self, worker: str, limit: int) -> Sequence[Lease]:
        now = self._clock.now()
        # Reading first: a taker that finds nothing does not keep other processes from writing.
        if limit < 1 or not self._database.query(ANYTHING, (now, self._max_attempts, 1, now, 1, now, 1))[0][0]:
            return []

        def take(lines: Lines) -> list[Lease]:
            expired = lines.expired(limit, max_attempts=self._max_attempts)
            leases = [lines.lease(row, worker, now + self._lease_s) for row in expired]
            lines.promote()
            while len(leases) < limit and (due := lines.next()) is not None:
                leases.append(lines.lease(due, worker, now + self._lease_s))
            return leases

        return await self._leasing(take)

    async def _leasing(self, lease: Callable[[Lines], list[Lease]]) -> list[Lease]:
        """Run a write that leases messages. A caller that is cancelled meanwhile does not keep them."""
        if not self._database.full:
            return await self._change(lease)
        writing = asyncio.ensure_future(self._change(lease, durable=False))
        try:
            return await asyncio.shield(writing)
        except asyncio.CancelledError:
            for taken in await writing:
                await self.decline(taken)
            raise

    async def _remove(self, where: str, *parameters: Any, durable: bool = True) -> bool:
        def remove(lines: Lines) -> bool:
            row = lines.change(f"DELETE FROM queue_messages WHERE {where}", *parameters)  # noqa: S608 - one of ours
            if row is not None:
                lines.removed(row)
            return row is not None

        return await self._change(remove, durable=durable)

    async def _nudge(self, id: str, change: str) -> bool:
        now = self._clock.now()

        def nudge(lines: Lines) -> bool:
            row = lines.change(f"UPDATE queue_messages SET {change} WHERE id = ?", id)  # noqa: S608 - one of ours
            if row is not None and row.state == "delayed":
                lines.line_up(row, now)
            return row is not None

        return await self._change(nudge)

    async def _change(self, change: Callable[[Lines], T], *, durable: bool = True) -> T:
        """Run a transaction, then tell this process's takers; those of other processes see that the file has changed."""
        now = self._clock.now()

        def run(connection: sqlite3.Connection) -> tuple[T, Lines]:
            lines = Lines(connection, self._policies, now=now)
            return change(lines), lines

        result, lines = await self._database.write(run, durable=durable)
        if lines.opened:
            self._takers.wake()
        if lines.next_at < math.inf:
            self._takers.expect(lines.next_at)
        return result

    def _next_due(self) -> float:
        expiries = self._database.query(_NEXT_EXPIRY, (self._max_attempts,))
        rows = [*self._database.query(_NEXT_DELAYED), *expiries, *self._database.query(NEXT_GATE)]
        return min((float(at) for (at,) in rows), default=math.inf)
