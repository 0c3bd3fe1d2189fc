"""Reading records: one execution with its steps, pages of a search, logs, and the payloads that are named."""

from __future__ import annotations

import heapq
import itertools
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from turnout.codec import unpack, unpack_error, unpack_info, unpack_receipts
from turnout.interfaces.records import ExecutionQuery
from turnout.model.execution import ExecutionRecord, LogLine, Status, StepRecord, StepStatus

__all__ = ["get", "logs", "references", "search"]

_EXECUTION = "created_at, id, status, attempts, started_at, ended_at, output, error, info, number"
_Row = tuple[Any, ...]


def get(connection: sqlite3.Connection, id: str) -> ExecutionRecord | None:
    columns = f"sandboxes, {_EXECUTION}"
    found = connection.execute(f"SELECT {columns} FROM executions WHERE id = ?", (id,)).fetchone()  # noqa: S608 - made of constants
    if found is None:
        return None
    sandboxes, *row = found
    steps = connection.execute(
        """
        SELECT path, kind, status, attempts, started_at, duration_ms, output, error
        FROM steps WHERE execution = ? ORDER BY started_at, rowid
        """,
        (row[-1],),
    )
    record = _execution(tuple(row), tuple(map(_step, steps)))
    return record if sandboxes is None else replace(record, sandboxes=unpack_receipts(sandboxes))


def search(connection: sqlite3.Connection, query: ExecutionQuery) -> list[ExecutionRecord]:
    """One indexed search a status, merged: an index gives one status in the order of time, not several."""
    conditions, values = _conditions(query)
    if query.before:
        last = connection.execute("SELECT created_at, id FROM executions WHERE id = ?", (query.before,)).fetchone()
        if last is None:
            return []
        conditions.append("(created_at, id) < (?, ?)")
        values += last
    pages = [
        _page(connection, [*conditions, *(["status = ?"] if status else [])], [*values, *status], query.limit)
        for status in ([[status.value] for status in dict.fromkeys(query.statuses)] or [[]])
    ]
    newest = heapq.merge(*pages, key=lambda row: (row[0], row[1]), reverse=True)
    return [_execution(row, ()) for row in itertools.islice(newest, max(query.limit, 0))]


def logs(connection: sqlite3.Connection, id: str, after: int, limit: int) -> list[tuple[int, LogLine]]:
    rows = connection.execute(
        """
        SELECT logs.number, logs.at, logs.level, logs.message, logs.path
        FROM executions JOIN logs ON logs.execution = executions.number
        WHERE executions.id = ? AND logs.number > ? ORDER BY logs.number LIMIT ?
        """,
        (id, after, max(limit, 0)),
    )
    return [
        (number, LogLine(at=at, level=level, message=message, path=path)) for number, at, level, message, path in rows
    ]


def references(connection: sqlite3.Connection) -> set[tuple[str, str]]:
    rows = connection.execute(
        "SELECT DISTINCT tenant, sha256 FROM record_payloads JOIN executions ON executions.number = record_payloads.execution"
    )
    return set(rows)


def _conditions(query: ExecutionQuery) -> tuple[list[str], list[Any]]:
    found: list[tuple[str, Any]] = [
        (f"{name} = ?", value)
        for name in ("tenant", "instance", "integration", "flow")
        if (value := getattr(query, name))
    ]
    if query.parent is not None:
        found.append(("parent = ?", query.parent))
    if query.since is not None:
        found.append(("created_at >= ?", query.since))
    if query.until is not None:
        found.append(("created_at < ?", query.until))
    if query.text:
        found.append(("error_text IS NOT NULL AND instr(error_text, ?) > 0", query.text.casefold()))
    return [condition for condition, _ in found], [value for _, value in found]


def _page(connection: sqlite3.Connection, conditions: list[str], values: list[Any], limit: int) -> Sequence[_Row]:
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    return connection.execute(
        f"SELECT {_EXECUTION} FROM executions {where} ORDER BY created_at DESC, id DESC LIMIT ?",  # noqa: S608 - the conditions are those above
        (*values, max(limit, 0)),
    ).fetchall()


def _execution(row: _Row, steps: tuple[StepRecord, ...]) -> ExecutionRecord:
    _, _, status, attempts, started_at, ended_at, output, error, info, _ = row
    return ExecutionRecord(
        info=unpack_info(info),
        status=Status(status),
        attempts=attempts,
        started_at=started_at,
        ended_at=ended_at,
        output=None if output is None else unpack(output),
        error=None if error is None else unpack_error(error),
        steps=steps,
    )


def _step(row: _Row) -> StepRecord:
    path, kind, status, attempts, started_at, duration_ms, output, error = row
    return StepRecord(
        path=path,
        kind=kind,
        status=StepStatus(status),
        attempts=attempts,
        started_at=started_at,
        duration_ms=duration_ms,
        output=None if output is None else unpack(output),
        error=None if error is None else unpack_error(error),
    )
