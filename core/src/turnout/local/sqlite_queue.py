"""The queue in SQLite: several processes of one machine share it, and its messages outlive them all.

A message is one row and one of `ready`, `delayed`, `leased`, `dead`; `at` is when it became due, is due, runs out, died.
Tenants with something ready stand in a ring; `take` serves the one with the lowest turn and gives it the highest, so what
it costs depends neither on how much a tenant has waiting nor on how many tenants there are. Every query is an index
look-up. Tokens are drawn from one sequence, so they rise for an id that is completed and put again, too.
"""

from __future__ import annotations

import asyncio
import json
import math
import sqlite3
from collections.abc import Callable, Collection, Sequence
from typing import Any, ClassVar, Final, Self

from turnout.errors import Unsupported
from turnout.interfaces.clock import Clock, SystemClock
from turnout.interfaces.opening import Opening
from turnout.interfaces.queue import DeadMessage, Lease, LeaseState, Message, Queue, QueueCapability, QueueStats
from turnout.local.database import Database
from turnout.local.project_database import project_database
from turnout.local.takers import Takers
from turnout.model.durability import Durability
from turnout.model.tenancy import Policies

__all__ = ["SQLiteQueue"]

_MIGRATIONS: Final = (
    (
        """CREATE TABLE queue_messages (
            seq INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            tenant TEXT NOT NULL,
            priority INTEGER NOT NULL,
            state TEXT NOT NULL,
            at REAL,
            rank INTEGER NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0,
            token INTEGER NOT NULL DEFAULT 0,
            worker TEXT NOT NULL DEFAULT '',
            woken INTEGER NOT NULL DEFAULT 0,
            cancelled INTEGER NOT NULL DEFAULT 0,
            reason TEXT NOT NULL DEFAULT ''
        )""",
        "CREATE INDEX queue_states ON queue_messages (state, at)",
        "CREATE INDEX queue_lines ON queue_messages (tenant, rank, at) WHERE state = 'ready'",
        "CREATE TABLE queue_ring (tenant TEXT PRIMARY KEY, turn INTEGER NOT NULL UNIQUE) WITHOUT ROWID",
        "CREATE TABLE queue_tokens (last INTEGER NOT NULL)",
        "INSERT INTO queue_tokens VALUES (0)",
    ),
)

_HEAD: Final = -(2**62)
"""The rank of a message whose lease was ended by `reap`: before every priority."""

_PROMOTED: Final = 1000
"""How many delayed messages one `take` moves into the lines at most, so that a burst of them blocks nobody for long."""

_POLL_S: Final = 0.05
"""How often a waiting taker looks whether another process has written: 20 times a second a few microseconds."""

_INSERT = """INSERT INTO queue_messages (id, tenant, priority, state, at, rank) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO NOTHING"""
_FIRST = "SELECT seq FROM queue_messages WHERE state = 'ready' AND tenant = ? ORDER BY rank, at, seq LIMIT 1"
_EXPIRED = "SELECT seq FROM queue_messages WHERE state = 'leased' AND at <= ? AND attempts < ? ORDER BY at LIMIT 1"
_DUE = "SELECT seq FROM queue_messages WHERE state = 'delayed' AND at <= ? ORDER BY at, seq LIMIT ?"
_NEXT_DELAYED = "SELECT at FROM queue_messages WHERE state = 'delayed' AND at IS NOT NULL ORDER BY at LIMIT 1"
_NEXT_EXPIRY = "SELECT at FROM queue_messages WHERE state = 'leased' AND attempts < ? ORDER BY at LIMIT 1"
_ANYTHING = f"""SELECT EXISTS(SELECT 1 FROM queue_ring) OR EXISTS(SELECT 1 FROM ({_EXPIRED}))
    OR EXISTS(SELECT 1 FROM ({_DUE}))"""  # noqa: S608 - made of constants
_LEASE = """UPDATE queue_messages SET state = 'leased', at = ?, token = ?, worker = ?, woken = 0, attempts = attempts + 1
    WHERE seq = ? RETURNING id, tenant, priority, attempts"""
_LEASED = "SELECT seq, id, tenant, priority, worker, attempts, at FROM queue_messages WHERE state = 'leased'"
_WORKERS = "SELECT DISTINCT worker FROM queue_messages WHERE state = 'leased' ORDER BY worker"
_HELD = "id = ? AND token = ? AND state = 'leased'"
_JOIN_RING = """INSERT INTO queue_ring SELECT ?, COALESCE(MAX(turn), 0) + 1 FROM queue_ring WHERE true
    ON CONFLICT (tenant) DO NOTHING"""
_FIRST_TURN = "REPLACE INTO queue_ring SELECT ?, COALESCE(MIN(turn), 0) - 1 FROM queue_ring"
_LAST_TURN = "UPDATE queue_ring SET turn = (SELECT MAX(turn) + 1 FROM queue_ring) WHERE tenant = ?"


class SQLiteQueue(Queue):
    """Implements `Queue`. One object belongs to one event loop; processes and threads each make their own.

    With a `full` database a message has survived loss of power once `put` returns; what a worker does with it later
    only survives the processes: a power cut takes those with it, and the message is handed out again.
    """

    capabilities: ClassVar[frozenset[QueueCapability]] = frozenset(QueueCapability) - {QueueCapability.LIMITS}

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
        database.migrate("queue", _MIGRATIONS)
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
        if message.concurrency or message.rates or message.order or message.debounce:
            raise Unsupported(type(self).__name__, QueueCapability.LIMITS)
        now = self._clock.now()
        due_at = now + max(delay_s, 0.0)
        added = await self._database.write(lambda connection: _insert(connection, message, now=now, due_at=due_at))
        if added:
            self._announce(due_at)
        return added

    async def room(self, tenant: str) -> int | None:
        return None

    async def missing(self, ids: Sequence[str]) -> Sequence[str]:
        sql = "SELECT id FROM queue_messages WHERE id IN (SELECT value FROM json_each(?))"
        there = {id for (id,) in self._database.query(sql, (json.dumps(list(ids)),))}
        return [id for id in ids if id not in there]

    async def take(self, worker: str, *, wait_s: float) -> Lease | None:
        return await self._takers.take(lambda: self._try_to_take(worker), wait_s=wait_s)

    async def claim(self, worker: str, id: str) -> Lease | None:
        now = self._clock.now()

        def lease(connection: sqlite3.Connection) -> Lease | None:
            sql = "SELECT seq, state, at, attempts FROM queue_messages WHERE id = ?"
            row = connection.execute(sql, (id,)).fetchone()
            if row is None:
                return None
            seq, state, at, attempts = row
            if state == "dead" or (state == "leased" and (at > now or attempts >= self._max_attempts)):
                return None
            return self._lease(connection, seq, worker)

        return await self._leasing(lease)

    async def extend(self, leases: Sequence[Lease]) -> Sequence[LeaseState]:
        expires_at = self._clock.now() + self._lease_s
        sql = f"UPDATE queue_messages SET at = ? WHERE {_HELD} RETURNING cancelled"  # noqa: S608 - made of constants

        def renew(connection: sqlite3.Connection) -> list[LeaseState]:
            rows = (connection.execute(sql, (expires_at, lease.message.id, lease.token)).fetchone() for lease in leases)
            return [LeaseState.LOST if not row else LeaseState.CANCELLED if row[0] else LeaseState.HELD for row in rows]

        return await self._database.write(renew, durable=False)

    async def complete(self, lease: Lease) -> bool:
        sql = f"DELETE FROM queue_messages WHERE {_HELD}"  # noqa: S608 - made of constants
        held = (lease.message.id, lease.token)
        return await self._database.write(lambda connection: connection.execute(sql, held).rowcount > 0, durable=False)

    async def release(self, lease: Lease, *, delay_s: float | None = 0.0) -> bool:
        now = self._clock.now()
        due_at = None if delay_s is None else now + max(delay_s, 0.0)

        def give_back(connection: sqlite3.Connection) -> tuple[bool, float | None]:
            sql = f"UPDATE queue_messages SET attempts = 0 WHERE {_HELD} RETURNING seq, woken OR cancelled"  # noqa: S608 - made of constants
            row = connection.execute(sql, (lease.message.id, lease.token)).fetchone()
            if row is None:
                return False, None
            at = now if row[1] else due_at
            _line_up(connection, row[0], at, now=now)
            return True, at

        held, at = await self._database.write(give_back)
        self._announce(at)
        return held

    async def fail(self, lease: Lease, *, reason: str, delay_s: float = 0.0) -> bool:
        now = self._clock.now()

        def give_back(connection: sqlite3.Connection) -> bool:
            sql = f"SELECT seq, attempts, cancelled FROM queue_messages WHERE {_HELD}"  # noqa: S608 - made of constants
            row = connection.execute(sql, (lease.message.id, lease.token)).fetchone()
            if row is None:
                return False
            seq, attempts, cancelled = row
            if attempts >= self._max_attempts:
                _bury(connection, seq, reason, now=now)
            else:
                _line_up(connection, seq, now if cancelled else now + max(delay_s, 0.0), now=now)
            return True

        held = await self._database.write(give_back)
        self._announce(now)
        return held

    async def wake(self, id: str) -> bool:
        return await self._nudge(id, "woken = 1")

    async def cancel(self, id: str) -> bool:
        return await self._nudge(id, "woken = 1, cancelled = 1")

    async def reap(self, *, workers: Collection[str] = ()) -> Sequence[Lease]:
        now = self._clock.now()
        lost = list(workers)
        return await self._end_leases(f"(at <= ? OR worker IN ({', '.join('?' * len(lost))}))", [now, *lost])

    async def workers(self) -> Sequence[str]:
        return [worker for (worker,) in self._database.query(_WORKERS)]

    async def stats(self) -> QueueStats:
        now = self._clock.now()
        by_state = "SELECT state, COUNT(*), MIN(at) FROM queue_messages GROUP BY state"
        by_now = "SELECT COUNT(*), MIN(at) FROM queue_messages WHERE state = 'delayed' AND at <= ?"
        with self._database.snapshot() as connection:
            rows = connection.execute(by_state).fetchall()
            due, first_due = connection.execute(by_now, (now,)).fetchone()
        counts = {state: count for state, count, _ in rows}
        oldest = [at for state, _, at in rows if state == "ready"] + ([] if first_due is None else [first_due])
        return QueueStats(
            ready=counts.get("ready", 0) + due,
            delayed=counts.get("delayed", 0) - due,
            leased=counts.get("leased", 0),
            dead=counts.get("dead", 0),
            oldest_ready_s=max(now - min(oldest, default=now), 0.0),
        )

    async def dead(self, *, limit: int = 100) -> Sequence[DeadMessage]:
        rows = self._database.query(
            "SELECT id, tenant, priority, attempts, reason, at FROM queue_messages WHERE state = 'dead' "
            "ORDER BY at DESC, seq DESC LIMIT ?",
            (limit,),
        )
        return [
            DeadMessage(
                message=Message(id=id, tenant=tenant, priority=priority), attempts=attempts, reason=reason, died_at=at
            )
            for id, tenant, priority, attempts, reason, at in rows
        ]

    async def revive(self, id: str) -> bool:
        now = self._clock.now()

        def line_up(connection: sqlite3.Connection) -> bool:
            sql = "UPDATE queue_messages SET attempts = 0, reason = '' WHERE id = ? AND state = 'dead' RETURNING seq"
            row = connection.execute(sql, (id,)).fetchone()
            if row is not None:
                _line_up(connection, row[0], now, now=now)
            return row is not None

        revived = await self._database.write(line_up)
        self._announce(now)
        return revived

    async def drop(self, id: str) -> bool:
        sql = "DELETE FROM queue_messages WHERE id = ?"
        return await self._database.write(lambda connection: connection.execute(sql, (id,)).rowcount > 0)

    async def close(self) -> None:
        """As promised; the database stays open, it belongs to the caller."""
        self._takers.close()

    async def _try_to_take(self, worker: str) -> Lease | None:
        now = self._clock.now()
        # Reading first: a taker that finds nothing does not keep other processes from writing.
        if not self._database.query(_ANYTHING, (now, self._max_attempts, now, 1))[0][0]:
            return None
        return await self._leasing(lambda connection: self._take(connection, worker, now))

    async def _leasing(self, lease: Callable[[sqlite3.Connection], Lease | None]) -> Lease | None:
        """Run a write that leases a message. A caller that is cancelled meanwhile does not keep the message."""
        writing = asyncio.ensure_future(self._database.write(lease, durable=False)) if self._database.full else None
        if writing is None:
            taken = await self._database.write(lease)
        else:
            try:
                taken = await asyncio.shield(writing)
            except asyncio.CancelledError:
                if (taken := await writing) is not None:
                    await self.release(taken)
                raise
        if taken is not None:
            self._takers.expect(taken.expires_at)
        return taken

    def _take(self, connection: sqlite3.Connection, worker: str, now: float) -> Lease | None:
        expired = connection.execute(_EXPIRED, (now, self._max_attempts)).fetchone()
        if expired is not None:
            return self._lease(connection, expired[0], worker)
        for (seq,) in connection.execute(_DUE, (now, _PROMOTED)).fetchall():
            _promote(connection, seq)
        while turn := connection.execute("SELECT tenant FROM queue_ring ORDER BY turn LIMIT 1").fetchone():
            if first := connection.execute(_FIRST, turn).fetchone():
                connection.execute(_LAST_TURN, turn)
                return self._lease(connection, first[0], worker)
            connection.execute("DELETE FROM queue_ring WHERE tenant = ?", turn)
        return None

    def _lease(self, connection: sqlite3.Connection, seq: int, worker: str) -> Lease:
        expires_at = self._clock.now() + self._lease_s
        token = _draw_token(connection)
        id, tenant, priority, attempts = connection.execute(_LEASE, (expires_at, token, worker, seq)).fetchone()
        return Lease(
            message=Message(id=id, tenant=tenant, priority=priority),
            worker=worker,
            token=token,
            attempt=attempts,
            expires_at=expires_at,
        )

    async def _end_leases(self, condition: str, parameters: Sequence[Any]) -> Sequence[Lease]:
        now = self._clock.now()
        sql = f"{_LEASED} AND {condition} ORDER BY at DESC"
        if not self._database.query(sql, parameters):
            return []

        def end(connection: sqlite3.Connection) -> list[Lease]:
            rows = connection.execute(sql, parameters).fetchall()
            return [self._end_lease(connection, row, now) for row in rows]

        ended = await self._database.write(end)
        self._announce(now)
        return ended[::-1]  # ended from the youngest to the oldest, which is now the first of all

    def _end_lease(self, connection: sqlite3.Connection, row: tuple[Any, ...], now: float) -> Lease:
        seq, id, tenant, priority, worker, attempts, expires_at = row
        token = _draw_token(connection)
        connection.execute(
            "UPDATE queue_messages SET token = ?, state = 'ready', rank = ? WHERE seq = ?", (token, _HEAD, seq)
        )
        if attempts >= self._max_attempts:
            _bury(connection, seq, f"its worker was lost {attempts} times, the last was {worker}", now=now)
        else:
            connection.execute(_FIRST_TURN, (tenant,))
        message = Message(id=id, tenant=tenant, priority=priority)
        return Lease(message=message, worker=worker, token=token, attempt=attempts, expires_at=expires_at)

    async def _nudge(self, id: str, change: str) -> bool:
        now = self._clock.now()

        def nudge(connection: sqlite3.Connection) -> bool:
            sql = f"UPDATE queue_messages SET {change} WHERE id = ? RETURNING seq, state"  # noqa: S608 - made of constants
            row = connection.execute(sql, (id,)).fetchone()
            if row is not None and row[1] == "delayed":
                _line_up(connection, row[0], now, now=now)
            return row is not None

        there = await self._database.write(nudge)
        self._announce(now)
        return there

    def _announce(self, due_at: float | None) -> None:
        """Tell this process's takers; those of other processes see that the file has changed."""
        if due_at is None:
            return
        if due_at <= self._clock.now():
            self._takers.wake()
        else:
            self._takers.expect(due_at)

    def _next_due(self) -> float:
        rows = [*self._database.query(_NEXT_DELAYED), *self._database.query(_NEXT_EXPIRY, (self._max_attempts,))]
        return min((float(at) for (at,) in rows), default=math.inf)


def _insert(connection: sqlite3.Connection, message: Message, *, now: float, due_at: float) -> bool:
    state = "ready" if due_at <= now else "delayed"
    row = (message.id, message.tenant, message.priority, state, due_at, -message.priority)
    if connection.execute(_INSERT, row).rowcount == 0:
        return False
    if state == "ready":
        connection.execute(_JOIN_RING, (message.tenant,))
    return True


def _line_up(connection: sqlite3.Connection, seq: int, due_at: float | None, *, now: float) -> None:
    """Put a message into its tenant's line, or among the delayed until then (None: until it is woken)."""
    ready = due_at is not None and due_at <= now
    sql = "UPDATE queue_messages SET state = ?, at = ?, rank = -priority WHERE seq = ? RETURNING tenant"
    tenant = connection.execute(sql, ("ready" if ready else "delayed", due_at, seq)).fetchone()
    if ready:
        connection.execute(_JOIN_RING, tenant)


def _promote(connection: sqlite3.Connection, seq: int) -> None:
    sql = "UPDATE queue_messages SET state = 'ready' WHERE seq = ? RETURNING tenant"
    connection.execute(_JOIN_RING, connection.execute(sql, (seq,)).fetchone())


def _bury(connection: sqlite3.Connection, seq: int, reason: str, *, now: float) -> None:
    sql = "UPDATE queue_messages SET state = 'dead', at = ?, reason = ? WHERE seq = ?"
    connection.execute(sql, (now, reason, seq))


def _draw_token(connection: sqlite3.Connection) -> int:
    token: int = connection.execute("UPDATE queue_tokens SET last = last + 1 RETURNING last").fetchone()[0]
    return token
