"""The queue's messages in SQLite: where each stands, whose turn it is, and how a message goes from one place to another.

A message is one row and one of `ready`, `held` (by a limit, in its lane), `behind` (another of its order), `delayed`,
`leased`, `dead`; `at` is when it became due, is due, runs out, died. Tenants with something ready stand in a ring; the one
with the lowest turn is served, and gets the highest once it has had as many as its weight. What that costs depends neither
on how much a tenant has waiting nor on how many tenants there are. Tokens are drawn from one sequence, so they rise for an
id that is completed and put again, too.
"""

from __future__ import annotations

import math
import sqlite3
from typing import Any, Final, NamedTuple

from turnout.interfaces.queue import Debounce, Lease, Message
from turnout.local.sqlite_gates import GATE_DUE, MIGRATION, Gates, decode_limits, encode_limits, name_lane
from turnout.model.tenancy import Policies, TenantPolicy

__all__ = ["ANYTHING", "COLUMNS", "EXPIRED", "MIGRATIONS", "Lines", "MessageRow"]

MIGRATIONS: Final = (
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
    (
        "ALTER TABLE queue_messages ADD COLUMN limits TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE queue_messages ADD COLUMN lane TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE queue_messages ADD COLUMN sequence TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE queue_messages ADD COLUMN turn INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE queue_messages ADD COLUMN handed_out INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE queue_messages ADD COLUMN superseded_by TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE queue_ring ADD COLUMN served INTEGER NOT NULL DEFAULT 0",
        "CREATE INDEX queue_lanes_held ON queue_messages (tenant, lane, rank, at) WHERE state = 'held'",
        "CREATE INDEX queue_orders ON queue_messages (tenant, sequence, turn) WHERE sequence != ''",
        "CREATE INDEX queue_orders_leased ON queue_messages (tenant, sequence) WHERE state = 'leased' AND sequence != ''",
        "CREATE INDEX queue_tenants ON queue_messages (tenant, state)",
        """CREATE TABLE queue_newest (
            tenant TEXT NOT NULL, key TEXT NOT NULL, seq INTEGER NOT NULL, since REAL NOT NULL,
            PRIMARY KEY (tenant, key)
        ) WITHOUT ROWID""",
        *MIGRATION,
    ),
)

_HEAD: Final = -(2**62)
"""The rank of a message whose lease was ended by `reap`: before every priority."""

_PROMOTED: Final = 1000
"""How many delayed messages one `take` moves into the lines at most, so that a burst of them blocks nobody for long."""

COLUMNS: Final = """seq, id, tenant, priority, state, at, rank, attempts, worker, limits, lane, sequence, handed_out,
    superseded_by, woken, cancelled"""
_ROW: Final = f"SELECT {COLUMNS} FROM queue_messages"  # noqa: S608 - made of constants
FIRST: Final = f"{_ROW} WHERE state = 'ready' AND tenant = ? ORDER BY rank, at, seq LIMIT 1"
EXPIRED: Final = f"{_ROW} WHERE state = 'leased' AND at <= ? AND attempts < ? ORDER BY at LIMIT ?"
DUE: Final = f"{_ROW} WHERE state = 'delayed' AND at <= ? ORDER BY at, seq LIMIT ?"
ANYTHING: Final = f"""SELECT EXISTS(SELECT 1 FROM queue_ring) OR EXISTS(SELECT 1 FROM ({EXPIRED}))
    OR EXISTS(SELECT 1 FROM ({DUE})) OR EXISTS(SELECT 1 FROM ({GATE_DUE}))"""  # noqa: S608 - made of constants
ORDER_HEAD: Final = f"{_ROW} WHERE tenant = ? AND sequence = ? AND sequence != '' ORDER BY turn LIMIT 1"
ORDER_LEASED: Final = """SELECT 1 FROM queue_messages WHERE tenant = ? AND sequence = ? AND sequence != '' AND
    state = 'leased' LIMIT 1"""
INSERT: Final = """INSERT INTO queue_messages (id, tenant, priority, state, at, rank, limits, lane)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"""
_LEASE = """UPDATE queue_messages SET state = 'leased', at = ?, token = ?, worker = ?, woken = 0, attempts = attempts + 1,
    handed_out = 1, lane = ? WHERE seq = ?"""
JOIN_RING: Final = """INSERT INTO queue_ring (tenant, turn) SELECT ?, COALESCE(MAX(turn), 0) + 1 FROM queue_ring WHERE true
    ON CONFLICT (tenant) DO NOTHING"""
_FIRST_TURN = "REPLACE INTO queue_ring (tenant, turn) SELECT ?, COALESCE(MIN(turn), 0) - 1 FROM queue_ring"
_LAST_TURN = "UPDATE queue_ring SET turn = (SELECT MAX(turn) + 1 FROM queue_ring), served = 0 WHERE tenant = ?"
_SAME_TURN = "UPDATE queue_ring SET served = served + 1 WHERE tenant = ?"
TURN: Final = "SELECT tenant, served FROM queue_ring ORDER BY turn LIMIT 1"
_JOIN_ORDER = """UPDATE queue_messages SET sequence = ?2, turn = (SELECT COALESCE(MAX(turn), 0) + 1 FROM queue_messages
    WHERE tenant = ?1 AND sequence = ?2 AND sequence != '') WHERE seq = ?3"""
WAITING: Final = """SELECT COUNT(*) FROM (SELECT 1 FROM queue_messages WHERE tenant = ?
    AND state IN ('ready', 'held', 'behind', 'delayed') LIMIT ?)"""
IN_FLIGHT: Final = "SELECT COUNT(*) FROM (SELECT 1 FROM queue_messages WHERE tenant = ? AND state = 'leased' LIMIT ?)"


class MessageRow(NamedTuple):
    """A row as it was read."""

    seq: int
    id: str
    tenant: str
    priority: int
    state: str
    at: float | None
    rank: int
    attempts: int
    worker: str
    limits: str
    lane: str
    sequence: str
    handed_out: int
    superseded_by: str
    woken: int
    cancelled: int

    @property
    def message(self) -> Message:
        return decode_limits(self.limits, id=self.id, tenant=self.tenant, priority=self.priority)

    def lease(self, token: int) -> Lease:
        """The lease that the row stands for."""
        return Lease(
            message=self.message,
            worker=self.worker,
            token=token,
            attempt=self.attempts,
            expires_at=self.at or 0.0,
            superseded_by=self.superseded_by,
        )


class Lines:
    """The messages within one transaction. What takers are to be told afterwards: whether something has become ready
    (`opened`), and when something may (`next_at`)."""

    def __init__(self, connection: sqlite3.Connection, policies: Policies, *, now: float) -> None:
        self._run = connection.execute
        self._policies = policies
        self._gates = Gates(connection, now, self._join_ring)
        self._now = now
        self._next_at = math.inf
        self.opened = False

    @property
    def next_at(self) -> float:
        return min(self._next_at, self._gates.opens_at)

    def find(self, where: str, *parameters: Any) -> MessageRow | None:
        """The row for which the condition holds."""
        row = self._run(f"{_ROW} WHERE {where}", parameters).fetchone()
        return None if row is None else MessageRow(*row)

    def change(self, sql: str, *parameters: Any) -> MessageRow | None:
        """Run a change of one row; that row, but for its new state if it was removed."""
        row = self._run(f"{sql} RETURNING {COLUMNS}", parameters).fetchone()
        return None if row is None else MessageRow(*row)

    def select(self, sql: str, *parameters: Any) -> list[MessageRow]:
        """The rows of a query for `COLUMNS`."""
        return [MessageRow(*row) for row in self._run(sql, parameters).fetchall()]

    def expired(self, limit: int, *, max_attempts: int) -> list[MessageRow]:
        """Those whose lease has run out, the oldest first, and who may be handed out again."""
        return self.select(EXPIRED, self._now, max_attempts, limit)

    def room(self, tenant: str) -> int | None:
        """How many more of the tenant may wait."""
        capacity = self._policies.of(tenant).capacity
        return None if capacity is None else capacity - int(self._run(WAITING, (tenant, capacity)).fetchone()[0])

    def insert(self, message: Message, due_at: float) -> bool:
        """Add a message; False if its id is there."""
        ready = due_at <= self._now
        limits = encode_limits(message)
        lane = name_lane(message, handed_out=False) if limits else ""
        state = "ready" if ready and not limits else "delayed"
        added = self._run(
            INSERT, (message.id, message.tenant, message.priority, state, due_at, -message.priority, limits, lane)
        )
        if added.rowcount == 0:
            return False
        if limits:
            self._keep_to_limits(message, due_at)
        elif ready:
            self._join_ring(message.tenant)
        else:
            self._next_at = min(self._next_at, due_at)
        return True

    def line_up(self, row: MessageRow, due_at: float | None, *, rank: int | None = None) -> None:
        """Put a message into its tenant's line, or among the delayed until then (None: until it is woken)."""
        ready = due_at is not None and due_at <= self._now
        state = "delayed" if not ready else "behind" if row.limits else "ready"
        sql = "UPDATE queue_messages SET state = ?, at = ?, rank = ? WHERE seq = ?"
        self._run(sql, (state, due_at, -row.priority if rank is None else rank, row.seq))
        self._moved(row)
        if not ready:
            self._next_at = min(self._next_at, math.inf if due_at is None else due_at)
        elif row.limits:
            self._settle(row.seq)
        else:
            self._join_ring(row.tenant)

    def lease(self, row: MessageRow, worker: str, expires_at: float) -> Lease:
        """Hand out a message, wherever it waits, or take over its lease."""
        token = self.draw_token()
        lane = ""
        if row.limits and not row.superseded_by:
            lane = name_lane(row.message, handed_out=True)
        self._run(_LEASE, (expires_at, token, worker, lane, row.seq))
        if row.state != "leased":
            if row.limits and not row.superseded_by:
                self._gates.occupy(row.message, first=not row.handed_out)
                self._forget_newest(row)
            self._moved(row)
        self._next_at = min(self._next_at, expires_at)
        leased = row._replace(attempts=row.attempts + 1, worker=worker, at=expires_at)
        return leased.lease(token)

    def end_lease(self, row: MessageRow, *, max_attempts: int) -> Lease:
        """The holder is lost: to the head of the line, or to the dead letters; the lease, its token raised."""
        token = self.draw_token()
        self._run("UPDATE queue_messages SET token = ? WHERE seq = ?", (token, row.seq))
        if row.attempts >= max_attempts:
            self.bury(row, f"its worker was lost {row.attempts} times, the last was {row.worker}")
        else:
            self.line_up(row, self._now if row.at is None else min(row.at, self._now), rank=_HEAD)
            self._run(_FIRST_TURN, (row.tenant,))
        return row.lease(token)

    def bury(self, row: MessageRow, reason: str) -> None:
        """To the dead letters."""
        sql = "UPDATE queue_messages SET state = 'dead', at = ?, reason = ?, sequence = '' WHERE seq = ?"
        self._run(sql, (self._now, reason, row.seq))
        self.removed(row)

    def removed(self, row: MessageRow) -> None:
        """The message, as it was, is no more."""
        self._moved(row)
        self._advance(row.tenant, row.sequence)
        self._forget_newest(row)

    def revive(self, row: MessageRow) -> None:
        """From the dead letters into the line."""
        if row.limits and not row.superseded_by and (order := row.message.order):
            self._run(_JOIN_ORDER, (row.tenant, order, row.seq))
        self._run("UPDATE queue_messages SET attempts = 0, reason = '' WHERE seq = ?", (row.seq,))
        self.line_up(row, self._now)

    def promote(self) -> None:
        """Line up what has become due, and open the gates whose time has come."""
        for row in self._run(DUE, (self._now, _PROMOTED)).fetchall():
            due = MessageRow(*row)
            self.line_up(due, due.at)
        for tenant, gate in self._run(GATE_DUE, (self._now, _PROMOTED)).fetchall():
            self._gates.open_in_time(tenant, gate)

    def next(self) -> MessageRow | None:
        """The message whose turn it is."""
        while turn := self._run(TURN).fetchone():
            tenant, served = turn
            policy = self._policies.of(tenant)
            row = None if self._is_full(tenant, policy) else self._first(tenant)
            if row is None:
                self._run("DELETE FROM queue_ring WHERE tenant = ?", (tenant,))
                continue
            last = served + 1 >= policy.weight
            self._run(_LAST_TURN if last else _SAME_TURN, (tenant,))
            return row
        return None

    def draw_token(self) -> int:
        token: int = self._run("UPDATE queue_tokens SET last = last + 1 RETURNING last").fetchone()[0]
        return token

    def free(self, tenant: str, lane: str) -> int:
        """How many more of a lane could be leased now."""
        return self._gates.free(tenant, lane)

    def _first(self, tenant: str) -> MessageRow | None:
        while found := self._run(FIRST, (tenant,)).fetchone():
            row = MessageRow(*found)
            if row.lane and (closed := self._gates.closed(row.lane, tenant)) is not None:
                self._set_state(row.seq, "held")
                self._gates.park(tenant, row.lane, closed)
            elif row.sequence and self._run(ORDER_LEASED, (tenant, row.sequence)).fetchone():
                self._set_state(row.seq, "behind")  # another of its order was claimed meanwhile
                self._moved(row)
            else:
                return row
        return None

    def _is_full(self, tenant: str, policy: TenantPolicy) -> bool:
        if policy.in_flight is None:
            return False
        return bool(self._run(IN_FLIGHT, (tenant, policy.in_flight)).fetchone()[0] >= policy.in_flight)

    def _keep_to_limits(self, message: Message, due_at: float) -> None:
        """A message with limits was added: give it its place in its order and among those it debounces."""
        row = self.find("id = ?", message.id)
        assert row is not None
        if message.order:
            self._run(_JOIN_ORDER, (message.tenant, message.order, row.seq))
        if message.debounce is not None:
            due_at = max(due_at, self._take_the_place(row, message.debounce))
        self.line_up(row, due_at)

    def _take_the_place(self, row: MessageRow, debounce: Debounce) -> float:
        """Supersede the one before that was never handed out; when the new one is due."""
        sql = "SELECT seq, since FROM queue_newest WHERE tenant = ? AND key = ?"
        newest = self._run(sql, (row.tenant, debounce.key)).fetchone()
        since = self._now if newest is None else newest[1]
        if newest is not None and (older := self.find("seq = ?", newest[0])) is not None:
            sql = "UPDATE queue_messages SET superseded_by = ?, lane = '', sequence = '' WHERE seq = ?"
            self._run(sql, (row.id, older.seq))
            self.line_up(older, self._now if older.at is None else min(older.at, self._now))
            self._advance(older.tenant, older.sequence)
        self._run("REPLACE INTO queue_newest VALUES (?, ?, ?, ?)", (row.tenant, debounce.key, row.seq, since))
        due_at = self._now + debounce.wait_s
        return due_at if debounce.longest_s is None else min(due_at, since + debounce.longest_s)

    def _forget_newest(self, row: MessageRow) -> None:
        debounce = row.message.debounce if row.limits and not row.handed_out else None
        if debounce is not None:
            sql = "DELETE FROM queue_newest WHERE tenant = ? AND key = ? AND seq = ?"
            self._run(sql, (row.tenant, debounce.key, row.seq))

    def _moved(self, row: MessageRow) -> None:
        """A message, as it was, has left its place: others may take it."""
        if row.state == "leased":
            if self._policies.of(row.tenant).in_flight is not None:
                self._join_ring(row.tenant)
            if row.limits and not row.superseded_by:
                self._gates.vacate(row.message)
                self._advance(row.tenant, row.sequence)
        elif row.lane and row.state in ("ready", "held"):
            self._gates.left(row.tenant, row.lane, row.seq)

    def _advance(self, tenant: str, sequence: str) -> None:
        """The first of an order goes on, if it was held back."""
        if not sequence or self._run(ORDER_LEASED, (tenant, sequence)).fetchone():
            return
        head = self._run(ORDER_HEAD, (tenant, sequence)).fetchone()
        if head is not None and (row := MessageRow(*head)).state == "behind":
            self._settle(row.seq)

    def _settle(self, seq: int) -> None:
        """A message with limits is due: into its lane, unless others of its order come first."""
        row = self.find("seq = ?", seq)
        if row is None or row.state != "behind" or row.at is None:
            return
        if row.sequence:
            (head, *_) = self._run(ORDER_HEAD, (row.tenant, row.sequence)).fetchone()
            if head != seq or self._run(ORDER_LEASED, (row.tenant, row.sequence)).fetchone():
                return
        if row.lane:
            self._gates.add(row.tenant, row.lane, (row.rank, row.at, seq))
        else:
            self._set_state(seq, "ready")
            self._join_ring(row.tenant)

    def _set_state(self, seq: int, state: str) -> None:
        self._run("UPDATE queue_messages SET state = ? WHERE seq = ?", (state, seq))

    def _join_ring(self, tenant: str) -> None:
        self._run(JOIN_RING, (tenant,))
        self.opened = True
