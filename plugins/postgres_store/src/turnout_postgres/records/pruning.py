"""Retention: what is old is said to be removed, and dropped by whole partitions; rows are deleted where that must be.

By age, one row says what is gone (see `removed`), and partitions in which all is gone are dropped. One that something keeps,
an execution that waits for a person, is cleared row by row once its day is over. By size, the oldest partitions are dropped
while that does not remove too much; of the last one the oldest executions are deleted, and its tables written anew without
them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Sequence
from enum import Enum, auto
from functools import partial
from typing import Final, TypeVar

from turnout.errors import BackendError

from turnout_postgres.database import Database, Session
from turnout_postgres.faults import is_gone
from turnout_postgres.plain_text import original, plain
from turnout_postgres.records.partitions import DAY_S, TABLES, Partition, drop, partitions
from turnout_postgres.records.removed import knowing
from turnout_postgres.records.writing import erase, lock_state

__all__ = ["PATIENCE_S", "prune_by_age", "prune_by_size", "remove", "size_bytes", "sizes"]

T = TypeVar("T")

_log = logging.getLogger("turnout.postgres")

PATIENCE_S: Final = 600.0
"""How long a statement may take for which nobody waits."""

_CHUNK: Final = 1000
"""Executions deleted in one transaction at most, so that a large clean-up keeps no writer waiting."""

_SLACK: Final = 0.1
"""The part of the limit by which too much may go, so that a partition is dropped and not written anew."""

# An index takes 16 KiB as soon as it has one row. That is no record: it is not counted.
_SIZES: Final = """
    SELECT suffix, since, until, sum(greatest(0, pg_total_relation_size(c.oid) - 16384 * (
        SELECT count(*) FROM pg_index WHERE indrelid IN (c.oid, c.reltoastrelid)
    )))::bigint
    FROM {s}.record_partitions JOIN pg_class c ON c.relnamespace = to_regnamespace($1)
        AND c.relname IN ('executions_' || suffix, 'steps_' || suffix, 'logs_' || suffix)
    GROUP BY suffix, since, until ORDER BY since
"""


async def sizes(session: Session) -> list[tuple[Partition, int]]:
    """What each partition takes, the oldest first; what one without rows takes is not counted."""
    rows = await session.rows(_SIZES, session.schema)
    return [(Partition(suffix=suffix, since=since, until=until), size) for suffix, since, until, size in rows]


async def size_bytes(session: Session) -> int:
    return sum(size for _, size in await sizes(session))


async def remove(database: Database, ids: Sequence[str]) -> None:
    """Delete those of these ids that are there, row by row."""
    for start in range(0, len(ids), _CHUNK):
        chunk = [plain(id) for id in ids[start : start + _CHUNK]]
        await database.transact(partial(_erase, ids=chunk), patience_s=PATIENCE_S)


async def prune_by_age(database: Database, ended_before: float) -> list[str]:
    """The ids of those that this removes."""
    ids = await database.transact(partial(_remove, ended_before=ended_before), patience_s=PATIENCE_S)
    try:
        for partition in await database.run(partitions):
            if partition.since < ended_before:
                await _clear(database, partition, over=partition.until + DAY_S <= ended_before)
    except BackendError as error:
        # They are removed all the same.
        _log.warning("not all partitions of removed records could be dropped, the next time goes on: %s", error)
    return ids


async def prune_by_size(database: Database, keep_bytes: int) -> list[str]:
    """The ids of those that this removes: the oldest, until the rest is small enough. None while another process is at it:
    what is too much for both of them would go twice."""
    async with database.alone("turnout retention") as alone:
        return await _prune_by_size(database, keep_bytes) if alone else []


async def _prune_by_size(database: Database, keep_bytes: int) -> list[str]:
    ids: list[str] = []
    try:
        for partition, _ in await database.run(sizes):
            while (part := await _excess(database, partition, keep_bytes)) > 0:
                removed, left = await _remove_oldest(database, partition, part)
                ids += removed
                if left is not _Left.LESS:
                    break
                await _if_there(database.run(partial(_rewrite, partition=partition), patience_s=PATIENCE_S))
    except BackendError as error:
        if not ids:
            raise
        _log.warning("records take too much still, the next time goes on: %s", error)
    return ids


class _Left(Enum):
    """What is left of a partition of which something was to be deleted."""

    NOTHING = auto()
    LESS = auto()
    ALL = auto()


async def _excess(database: Database, partition: Partition, keep_bytes: int) -> float:
    """Which part of a partition is too much; 0: nothing has to go, or nothing is there."""
    now = await database.run(sizes)
    total = sum(size for _, size in now)
    own = next((size for other, size in now if other == partition), 0)
    if total <= keep_bytes or own == 0:
        return 0.0
    if partition != now[-1][0] and total - own >= keep_bytes * (1 - _SLACK):
        return 1.0
    return min(1.0, (total - keep_bytes * (1 - _SLACK / 4)) / own)


async def _clear(database: Database, partition: Partition, *, over: bool) -> None:
    """Drop it if all in it is removed. If its day is over and something keeps it, maybe for long: delete what is removed."""
    if await database.transact(partial(_drop_if_removed, partition=partition), patience_s=PATIENCE_S) or not over:
        return
    while await database.transact(partial(_erase_removed, partition=partition), patience_s=PATIENCE_S):
        pass


async def _erase(session: Session, *, ids: Sequence[str]) -> None:
    await lock_state(session)
    rows = await session.rows(
        "SELECT number, created_at FROM {s}.record_ids WHERE id = ANY ($1::text[])", list(ids), prepare=True
    )
    for partition in await partitions(session):
        numbers = [number for number, at in rows if partition.holds(at)]
        if numbers:
            await erase(partition.of(session), numbers)
    # Theirs alone: of others there may be events and no record yet.
    await session.change("DELETE FROM {s}.record_events WHERE execution = ANY ($1::text[])", list(ids))


async def _remove(session: Session, *, ended_before: float) -> list[str]:
    """Say that final executions that ended before a time are gone."""
    position, _, removed = await lock_state(session)
    rows = await knowing(session).rows(
        "SELECT id, number, created_at FROM {s}.executions WHERE {is_live} AND ended_at < $3 AND status IN {final}",
        *removed.parameters,
        ended_before,
    )
    if ended_before >= removed.before:
        await session.change("UPDATE {s}.record_state SET removed_before = $1, removed_at = $2", ended_before, position)
    else:
        # A later time was said before, and still holds for what had not changed then: what goes now is deleted.
        for partition in await partitions(session):
            numbers = [number for _, number, at in rows if partition.holds(at)]
            await erase(partition.of(session), numbers)
    return [original(id) for id, _, _ in rows]


async def _drop_if_removed(session: Session, *, partition: Partition) -> bool:
    """Whether it is gone: everything in it is removed, and nothing new is to be expected."""
    _, _, removed = await lock_state(session)
    if partition not in await partitions(session):
        return True
    if partition.until > removed.before:
        return False
    within = partition.of(session)
    # The first two look into an index, and find what keeps most partitions; the third reads the table.
    if (
        await within.holds("SELECT FROM {executions} WHERE status IN {not_final}")
        or await within.holds("SELECT FROM {executions} WHERE ended_at >= $1", removed.before)
        or await within.holds("SELECT FROM {executions} WHERE {is_live}", *removed.parameters)
    ):
        return False
    await drop(session, partition)
    return True


async def _erase_removed(session: Session, *, partition: Partition) -> bool:
    """Delete some of those that are removed; whether there were any."""
    _, _, removed = await lock_state(session)
    if partition not in await partitions(session):
        return False
    within = partition.of(session)
    rows = await within.rows(
        """SELECT number FROM {executions} WHERE ended_at < $1 AND changed <= $2 AND status IN {final}
        ORDER BY ended_at LIMIT $3""",
        *removed.parameters,
        _CHUNK,
    )
    await erase(within, [number for (number,) in rows])
    return bool(rows)


async def _remove_oldest(database: Database, partition: Partition, part: float) -> tuple[list[str], _Left]:
    """Delete a part of its final executions, the oldest; the ids of those that were not removed before."""
    count = await _if_there(database.run(partial(_count_final, partition=partition))) or 0
    wanted = min(count, max(1, math.ceil(count * part)))
    if (
        wanted == count
        and (gone := await database.transact(partial(_drop_final, partition=partition), patience_s=PATIENCE_S))
        is not None
    ):
        return gone, _Left.NOTHING
    ids: list[str] = []
    left = _Left.ALL
    while wanted > 0:
        erased, live = await database.transact(
            partial(_erase_oldest, partition=partition, most=min(wanted, _CHUNK)), patience_s=PATIENCE_S
        )
        ids += live
        wanted = wanted - erased if erased else 0
        left = _Left.LESS if erased else left
    return ids, left


async def _if_there(work: Awaitable[T]) -> T | None:
    """What it comes to; None where another process has dropped the partition meanwhile."""
    try:
        return await work
    except BackendError as error:
        if is_gone(error):
            return None
        raise


async def _count_final(session: Session, *, partition: Partition) -> int:
    row = await partition.of(session).one("SELECT count(*) FROM {executions} WHERE status IN {final}")
    assert row is not None
    return int(row[0])


async def _drop_final(session: Session, *, partition: Partition) -> list[str] | None:
    """Drop a partition in which all are final; the ids of those that were not removed before. None: it is kept."""
    _, _, removed = await lock_state(session)
    if partition not in await partitions(session):
        return []
    within = partition.of(session)
    if await within.holds("SELECT FROM {executions} WHERE status IN {not_final}"):
        return None
    rows = await within.rows("SELECT id FROM {executions} WHERE {is_live} ORDER BY created_at, id", *removed.parameters)
    await drop(session, partition)
    return [original(id) for (id,) in rows]


async def _erase_oldest(session: Session, *, partition: Partition, most: int) -> tuple[int, list[str]]:
    """How many were deleted, and the ids of those that were not removed before."""
    _, _, removed = await lock_state(session)
    if partition not in await partitions(session):
        return 0, []
    within = partition.of(session)
    rows = await within.rows(
        "SELECT number, id, {is_live} FROM {executions} WHERE status IN {final} ORDER BY created_at, id LIMIT $3",
        *removed.parameters,
        most,
    )
    await erase(within, [number for number, _, _ in rows])
    return len(rows), [original(id) for _, id, live in rows if live]


async def _rewrite(session: Session, *, partition: Partition) -> None:
    """Write its tables anew without what was deleted, which gives the space back. Only this partition waits for it."""
    await session.change(
        "SELECT set_config('statement_timeout', $1, false), set_config('lock_timeout', '2s', false)",
        str(int(PATIENCE_S * 1000)),
    )
    try:
        for table in TABLES:
            await partition.of(session).script(f"VACUUM (FULL) {{{table}}}")
    finally:
        await session.restore()
