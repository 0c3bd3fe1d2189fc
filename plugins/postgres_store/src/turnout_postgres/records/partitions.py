"""The partitions: a day each, made before they are needed or when they are, dropped when all in them is removed.

An execution with its steps and log lines stands in the partition of the day (UTC) on which it was created. A day is small
enough that retention by days drops what it should, and many enough are still few: a search looks at the newest first. What
claims to be of before 2000 or after 2200 has a partition of its own at either end, so that no clock is too wrong.

Who makes or drops a partition holds the lock of `record_state`'s row, so that no two do it at once, and none while another
writes. A partition is attached, not created in its place: that stops neither readers nor writers.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from turnout_postgres.records.removed import knowing

if TYPE_CHECKING:
    from turnout_postgres.database import Session

__all__ = ["DAY_S", "TABLES", "Partition", "drop", "make_missing", "partition_of", "partitions"]

TABLES: Final = ("executions", "steps", "logs")
DAY_S: Final = 86_400.0
_ATTACH: Final = """
    CREATE TABLE {partition} (LIKE {s}.{parent} INCLUDING ALL);
    ALTER TABLE {s}.{parent} ATTACH PARTITION {partition} FOR VALUES FROM ({since}) TO ({until});
"""
_FIRST: Final = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC).timestamp()
_END: Final = datetime.datetime(2200, 1, 1, tzinfo=datetime.UTC).timestamp()


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """A stretch of time; `since` and `until` are infinite at the two ends."""

    suffix: str
    since: float
    until: float

    def holds(self, created_at: float) -> bool:
        """Whether an execution of that time stands in it."""
        return partition_of(created_at) == self

    def of(self, session: Session) -> Session:
        """A session in which `{executions}`, `{steps}` and `{logs}` are its tables; it knows what is removed as well."""
        return knowing(session).naming(**{table: f'{{s}}."{table}_{self.suffix}"' for table in TABLES})


BEFORE: Final = Partition(suffix="before_2000", since=-math.inf, until=_FIRST)
AFTER: Final = Partition(suffix="from_2200", since=_END, until=math.inf)


def partition_of(created_at: float) -> Partition:
    """Where an execution of that time stands."""
    if created_at < _FIRST:
        return BEFORE
    if not created_at < _END:  # NaN as well
        return AFTER
    since = math.floor(created_at / DAY_S) * DAY_S
    day = datetime.datetime.fromtimestamp(since, datetime.UTC)
    return Partition(suffix=f"{day:%Y%m%d}", since=since, until=since + DAY_S)


async def partitions(session: Session) -> list[Partition]:
    """Those there are, the oldest first."""
    rows = await session.rows("SELECT suffix, since, until FROM {s}.record_partitions ORDER BY since")
    return [Partition(suffix=suffix, since=since, until=until) for suffix, since, until in rows]


async def make_missing(session: Session, wanted: Iterable[Partition]) -> list[Partition]:
    """Make those that are not there; the caller holds the lock. Which it made."""
    there = {partition.suffix for partition in await partitions(session)}
    missing = [partition for partition in sorted(set(wanted), key=_since) if partition.suffix not in there]
    for partition in missing:
        for table in TABLES:
            bounds = {"since": _bound(partition.since), "until": _bound(partition.until)}
            await partition.of(session).naming(partition=f"{{{table}}}", parent=table, **bounds).script(_ATTACH)
        await session.change(
            "INSERT INTO {s}.record_partitions (suffix, since, until) VALUES ($1, $2, $3)",
            partition.suffix,
            partition.since,
            partition.until,
        )
    return missing


async def drop(session: Session, partition: Partition) -> None:
    """Drop its tables, and what says where its executions are; the caller holds the lock."""
    await session.change("SELECT set_config('lock_timeout', '500ms', true)")
    await partition.of(session).change("DELETE FROM {s}.record_ids i USING {executions} e WHERE i.id = e.id")
    await session.change("DELETE FROM {s}.record_partitions WHERE suffix = $1", partition.suffix)
    for table in TABLES:
        await partition.of(session).script(f"DROP TABLE {{{table}}}")


def _since(partition: Partition) -> float:
    return partition.since


def _bound(at: float) -> str:
    if math.isinf(at):
        return "MINVALUE" if at < 0 else "MAXVALUE"
    return repr(at)
