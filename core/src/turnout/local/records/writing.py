"""Applying a batch to the tables, within the caller's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from turnout.codec import pack_info, pack_receipts
from turnout.interfaces.records import MOST_SANDBOXES, ExecutionChange, RecordBatch
from turnout.local.records.schema import packed, packed_error, payloads, searchable
from turnout.model.execution import ExecutionInfo, LogLine, Status, StepRecord

__all__ = ["apply", "apply_to", "erase"]

_Steps = tuple[tuple[str, StepRecord], ...]
_Logs = tuple[tuple[str, LogLine], ...]

_STEP = """
    INSERT INTO steps (execution, path, kind, status, attempts, started_at, duration_ms, output, error)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (execution, path) DO UPDATE SET
        kind = excluded.kind, status = excluded.status, attempts = excluded.attempts, started_at = excluded.started_at,
        duration_ms = excluded.duration_ms, output = excluded.output, error = excluded.error
"""

_ASSIGNED = {"started_at": "started_at = coalesce(started_at, ?)"}
"""The start is the first worker's."""

_RECEIPT = """
    UPDATE executions SET sandboxes = coalesce(sandboxes, '') || ? WHERE number = ?
    AND length(coalesce(sandboxes, '')) - length(replace(coalesce(sandboxes, ''), char(10), '')) < ?
"""


def apply(connection: sqlite3.Connection, batch: RecordBatch) -> bool:
    """Whether the batch was new. What it says of executions that are not there (removed meanwhile) is left out."""
    [applied] = connection.execute("SELECT position FROM record_position").fetchone()
    if batch.position <= applied:
        return False
    apply_to(connection, batch)
    connection.execute("UPDATE record_position SET position = ?", (batch.position,))
    return True


def apply_to(connection: sqlite3.Connection, batch: RecordBatch) -> None:
    """Apply a batch, whatever its position."""
    for change in batch.executions:
        _change(connection, change)
    numbers = _numbers(connection, {execution for execution, _ in (*batch.steps, *batch.logs)})
    _add_steps(connection, numbers, batch.steps)
    _add_logs(connection, numbers, batch.logs)


def erase(connection: sqlite3.Connection, numbers: Iterable[int]) -> None:
    """Remove executions with all that is said of them."""
    rows = [(number,) for number in numbers]
    for table in ("steps", "logs", "record_payloads"):
        connection.executemany(f"DELETE FROM {table} WHERE execution = ?", rows)  # noqa: S608 - made of constants
    connection.executemany("DELETE FROM executions WHERE number = ?", rows)


def _change(connection: sqlite3.Connection, change: ExecutionChange) -> None:
    if change.info is not None:
        _create(connection, change.id, change.info)
    number = _numbers(connection, {change.id}).get(change.id)
    if number is None:
        return
    if change.reopened:
        connection.execute(
            "UPDATE executions SET ended_at = NULL, output = NULL, error = NULL, error_text = NULL WHERE number = ?",
            (number,),
        )
        _name_payloads(connection, number, {"output": set(), "error": set()})
    for path in change.dropped:
        _drop(connection, number, path)
    columns = {
        "status": None if change.status is None else change.status.value,
        "attempts": change.attempts,
        "started_at": change.started_at,
        "ended_at": change.ended_at,
        "output": packed(change.output),
        "error": packed_error(change.error),
        "error_text": searchable(change.error),
    }
    changed = {name: value for name, value in columns.items() if value is not None}
    if changed:
        assignments = ", ".join(_ASSIGNED.get(name, f"{name} = ?") for name in changed)
        connection.execute(f"UPDATE executions SET {assignments} WHERE number = ?", (*changed.values(), number))  # noqa: S608 - the names are those above
    for receipt in change.sandboxes:
        connection.execute(_RECEIPT, (pack_receipts([receipt]), number, MOST_SANDBOXES))
    named = {"output": change.output, "error": change.error}
    _name_payloads(connection, number, {place: payloads(value) for place, value in named.items() if value is not None})


def _create(connection: sqlite3.Connection, id: str, info: ExecutionInfo) -> None:
    created = connection.execute(
        """
        INSERT INTO executions (id, tenant, instance, integration, flow, parent, status, created_at, info)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING RETURNING number
        """,
        (
            id,
            info.tenant,
            info.instance,
            info.integration,
            info.flow,
            info.parent,
            Status.QUEUED.value,
            info.created_at,
            pack_info(info),
        ),
    ).fetchone()
    if created:
        _name_payloads(connection, created[0], {"trigger": payloads(info.trigger)})


def _numbers(connection: sqlite3.Connection, ids: Iterable[str]) -> dict[str, int]:
    """The numbers of those executions that are there."""
    found = {}
    for id in ids:
        row = connection.execute("SELECT number FROM executions WHERE id = ?", (id,)).fetchone()
        if row:
            found[id] = row[0]
    return found


def _drop(connection: sqlite3.Connection, number: int, path: str) -> None:
    """Remove a step's record and those below it: `each`, `each.a`, `each[3].a`, but not `each2`."""
    for table, column, start in (("steps", "path", path), ("record_payloads", "place", f"/{path}")):
        connection.execute(
            f"DELETE FROM {table} WHERE execution = ? AND ({column} = ? OR {column} >= ? AND {column} < ? "  # noqa: S608 - the names are those above
            f"OR {column} >= ? AND {column} < ?)",
            # A slash follows a dot in order, a backslash an opening bracket.
            (number, start, f"{start}.", f"{start}/", f"{start}[", f"{start}\\"),
        )


def _add_steps(connection: sqlite3.Connection, numbers: dict[str, int], steps: _Steps) -> None:
    known = [(numbers[execution], step) for execution, step in steps if execution in numbers]
    connection.executemany(
        _STEP,
        (
            (
                number,
                step.path,
                step.kind,
                step.status.value,
                step.attempts,
                step.started_at,
                step.duration_ms,
                packed(step.output),
                packed_error(step.error),
            )
            for number, step in known
        ),
    )
    connection.executemany(
        "DELETE FROM record_payloads WHERE execution = ? AND place = ?",
        ((number, f"/{step.path}") for number, step in known),
    )
    newest = {(number, step.path): step for number, step in known}
    connection.executemany(
        "INSERT INTO record_payloads VALUES (?, ?, ?)",
        (
            (number, f"/{path}", sha256)
            for (number, path), step in newest.items()
            for sha256 in payloads(step.output, step.error)
        ),
    )


def _add_logs(connection: sqlite3.Connection, numbers: dict[str, int], logs: _Logs) -> None:
    last = {
        number: connection.execute("SELECT max(number) FROM logs WHERE execution = ?", (number,)).fetchone()[0] or 0
        for number in {numbers[execution] for execution, _ in logs if execution in numbers}
    }
    rows = []
    for execution, line in logs:
        if execution in numbers:
            number = numbers[execution]
            last[number] += 1
            rows.append((number, last[number], line.at, line.level, line.message, line.path))
    connection.executemany("INSERT INTO logs VALUES (?, ?, ?, ?, ?, ?)", rows)


def _name_payloads(connection: sqlite3.Connection, number: int, named: dict[str, set[str]]) -> None:
    """Say which payloads the places of an execution name now."""
    for place, hashes in named.items():
        connection.execute("DELETE FROM record_payloads WHERE execution = ? AND place = ?", (number, place))
        connection.executemany(
            "INSERT INTO record_payloads VALUES (?, ?, ?)", [(number, place, sha256) for sha256 in hashes]
        )
