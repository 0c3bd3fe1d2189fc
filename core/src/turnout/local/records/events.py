"""Events that come as they like, kept beside the records: until their execution is pruned, so that what comes twice is known, and
a record can be made again when one comes late."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from turnout.interfaces.journal import JournalEntry, Row
from turnout.interfaces.records import KeptEvents, RecordBatch
from turnout.local.records.writing import apply_to, erase

__all__ = ["forget", "keep", "record"]

_KEEP = "INSERT INTO record_events (execution, position, kind, body) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
_STATE = "SELECT position, recorded FROM record_events WHERE execution = ? ORDER BY position"
_FROM = "SELECT position, kind, body FROM record_events WHERE execution = ? AND position >= ? ORDER BY position"
_FORGET = """DELETE FROM record_events WHERE position <= ?
    AND NOT EXISTS (SELECT 1 FROM executions WHERE id = record_events.execution)"""


def keep(connection: sqlite3.Connection, entries: Sequence[JournalEntry]) -> list[KeptEvents]:
    """What the records lack of these events' executions, once these are kept; within the caller's transaction."""
    [applied] = connection.execute("SELECT position FROM record_position").fetchone()
    new = [entry for entry in entries if entry.position > applied]
    connection.executemany(_KEEP, ((entry.execution, entry.position, entry.row.kind, entry.row.body) for entry in new))
    found = (_lacking(connection, id) for id in dict.fromkeys(entry.execution for entry in new))
    return [kept for kept in found if kept is not None]


def record(connection: sqlite3.Connection, kept: Sequence[KeptEvents], batch: RecordBatch) -> bool:
    """Whether the batch was made of what is kept now. Within the caller's transaction."""
    for one in kept:
        count, lacking = _state(connection, one.execution)[:2]
        if (count, lacking) != (one.kept, one.lacking):
            return False
    told = {change.id for change in batch.executions if change.info is not None}
    for id in (one.execution for one in kept if one.anew and one.execution in told):
        numbers = connection.execute("SELECT number FROM executions WHERE id = ?", (id,)).fetchall()
        erase(connection, [number for (number,) in numbers])
    apply_to(connection, batch)
    noted = "UPDATE record_events SET recorded = 1 WHERE execution = ? AND recorded = 0"
    connection.executemany(noted, ((one.execution,) for one in kept))
    return True


def forget(connection: sqlite3.Connection, removed: Sequence[str]) -> None:
    """Forget the events of executions that are removed, and of those before them of which there is no record: they were removed
    earlier, and came again."""
    through = 0
    for id in removed:
        [last] = connection.execute("SELECT max(position) FROM record_events WHERE execution = ?", (id,)).fetchone()
        through = max(through, last or 0)
    if through:
        connection.execute(_FORGET, (through,))


def _state(connection: sqlite3.Connection, execution: str) -> tuple[int, frozenset[int], int]:
    """How many events are kept, the positions that the record lacks, and the last that it has."""
    rows = connection.execute(_STATE, (execution,)).fetchall()
    lacking = frozenset(position for position, recorded in rows if not recorded)
    return len(rows), lacking, max((position for position, recorded in rows if recorded), default=0)


def _lacking(connection: sqlite3.Connection, execution: str) -> KeptEvents | None:
    count, lacking, last = _state(connection, execution)
    if not lacking:
        return None
    anew = min(lacking) < last
    rows = connection.execute(_FROM, (execution, 0 if anew else min(lacking)))
    entries = tuple(
        JournalEntry(position=position, execution=execution, row=Row(kind, body)) for position, kind, body in rows
    )
    return KeptEvents(execution=execution, entries=entries, lacking=lacking, kept=count, anew=anew)
