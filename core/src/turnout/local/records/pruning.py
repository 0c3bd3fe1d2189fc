"""Removing old records in small transactions, and giving the space back to the file system."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from turnout.local.database import Database
from turnout.local.records.events import forget
from turnout.local.records.schema import FINAL
from turnout.local.records.writing import erase

__all__ = ["prune", "remove"]

_CHUNK: Final = 200
"""Executions removed in one transaction at most, so that a large clean-up keeps no writer waiting."""


def prune(database: Database, *, ended_before: float | None, keep_bytes: int | None) -> list[str]:
    """The ids of the executions removed: by age, then, as far as the store is still too large, the oldest."""
    removed: list[str] = []
    if ended_before is not None:
        condition = f"ended_at < ? AND status IN {FINAL} ORDER BY ended_at LIMIT ?"
        while ids := _remove(database, condition, (ended_before, _CHUNK)):
            removed += ids
    if keep_bytes is not None:
        condition = f"status IN {FINAL} ORDER BY created_at, id LIMIT ?"
        while (excess := _excess(database, keep_bytes)) and (ids := _remove(database, condition, (excess,))):
            removed += ids
    if removed:
        _give_back(database)
    return removed


def remove(database: Database, ids: Sequence[str]) -> None:
    """Those of these ids that are there."""
    for start in range(0, len(ids), _CHUNK):
        with database.transaction() as connection:
            for id in ids[start : start + _CHUNK]:
                numbers = connection.execute("SELECT number FROM executions WHERE id = ?", (id,)).fetchall()
                erase(connection, [number for (number,) in numbers])
                # Theirs alone: of others there may be events and no record yet.
                connection.execute("DELETE FROM record_events WHERE execution = ?", (id,))
    _give_back(database)


def _give_back(database: Database) -> None:
    while database.reclaim():
        pass  # in steps, between which others write
    database.checkpoint()


def _excess(database: Database, keep_bytes: int) -> int:
    """How many executions to remove next: half of what the average says is too much, at least one; 0 if none is."""
    size = database.size_bytes()
    if size <= keep_bytes:
        return 0
    count = int(database.query("SELECT count(*) FROM executions")[0][0])
    return max(1, min(_CHUNK, (size - keep_bytes) * count // (2 * size)))


def _remove(database: Database, condition: str, values: tuple[float | int, ...]) -> list[str]:
    with database.transaction() as connection:
        rows = connection.execute(f"SELECT number, id FROM executions WHERE {condition}", values).fetchall()  # noqa: S608 - the conditions are those above
        erase(connection, [number for number, _ in rows])
        forget(connection, [id for _, id in rows])
    return [id for _, id in rows]
