"""Reading records: one execution with its steps, pages of a search, logs, and the payloads that are named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from math import inf, isfinite
from typing import Any, Final

from turnout.codec import unpack, unpack_error, unpack_info, unpack_receipts
from turnout.interfaces.records import ExecutionQuery
from turnout.model.execution import ExecutionRecord, LogLine, Status, StepRecord, StepStatus

from turnout_postgres.database import Session
from turnout_postgres.faults import is_gone
from turnout_postgres.plain_text import is_shortened, name_of, original, plain
from turnout_postgres.records.changes import searchable
from turnout_postgres.records.partitions import partition_of
from turnout_postgres.records.removed import knowing

__all__ = ["get", "logs", "references", "search"]

_EXECUTION: Final = "status, attempts, started_at, ended_at, output, error, info"
_Row = tuple[Any, ...]

_WHERE: Final = """
    SELECT removed_before, removed_at, number, created_at FROM {s}.record_state, {s}.record_ids WHERE id = $1
"""

_ONE_PAGE: Final = """
    (SELECT * FROM {s}.executions WHERE {where} ORDER BY created_at DESC, id DESC LIMIT {limit})
"""

_PAGES: Final = (2, 8, 32)
"""How many partitions a search looks at first, then, and so on; at last at all the others: a page of what is common is found
in the newest, and costs the same however long history is kept."""


async def get(session: Session, id: str) -> ExecutionRecord | None:
    """To be called in a transaction that sees one moment. Of tables it sees the newest: retention may come in between."""
    place = await session.one(_WHERE, plain(id))
    if place is None:
        return None
    try:
        return await _get(session, place)
    except Exception as error:
        if is_gone(error):
            return None
        raise


async def _get(session: Session, place: _Row) -> ExecutionRecord | None:
    before, at, number, created_at = place
    within = partition_of(created_at).of(session).naming(columns=_EXECUTION)
    row = await within.one(
        "SELECT sandboxes, {columns} FROM {executions} WHERE {is_live} AND number = $3",
        before,
        at,
        number,
    )
    if row is None:
        return None
    steps = await within.rows(
        """SELECT path, kind, status, attempts, started_at, duration_ms, output, error
        FROM {steps} WHERE execution = $1 ORDER BY started_at, ordinal""",
        number,
    )
    sandboxes, *columns = row
    record = _execution(tuple(columns), tuple(map(_step, steps)))
    return record if sandboxes is None else replace(record, sandboxes=unpack_receipts(sandboxes))


async def logs(session: Session, id: str, after: int, limit: int) -> list[tuple[int, LogLine]]:
    """To be called in a transaction that sees one moment, as `get`."""
    place = await session.one(_WHERE, plain(id))
    if place is None:
        return []
    try:
        return await _logs(session, place, after, limit)
    except Exception as error:
        if is_gone(error):
            return []
        raise


async def _logs(session: Session, place: _Row, after: int, limit: int) -> list[tuple[int, LogLine]]:
    before, at, number, created_at = place
    rows = (
        await partition_of(created_at)
        .of(session)
        .rows(
            """SELECT number, at, level, message, path FROM {logs} WHERE execution = $3 AND number > $4
        AND EXISTS (SELECT FROM {executions} WHERE number = $3 AND {is_live}) ORDER BY number LIMIT $5""",
            before,
            at,
            number,
            after,
            max(limit, 0),
        )
    )
    return [
        (line, LogLine(at=at, level=original(level), message=original(message), path=original(path)))
        for line, at, level, message, path in rows
    ]


async def search(session: Session, query: ExecutionQuery) -> list[ExecutionRecord]:
    """The newest partitions first, then older ones, until the page is full."""
    if query.limit <= 0:
        return []
    there = await session.rows(
        """SELECT since, until, created_at FROM {s}.record_partitions LEFT JOIN {s}.record_ids ON id = $1
        ORDER BY since DESC""",
        plain(query.before),
    )
    last_created_at: float | None = there[0][2] if there else None
    if query.before and last_created_at is None:
        return []
    conditions, values = _conditions(query, last_created_at)
    newest = min(bound for bound in (query.until, last_created_at, inf) if bound is not None)
    oldest = -inf if query.since is None else query.since
    found: list[_Row] = []
    stretches = _stretches([(since, until) for since, until, _ in there if since <= newest and until >= oldest])
    for since, until in stretches:
        bounds = [(f"created_at {relation} ?", at) for relation, at in ((">=", since), ("<", until)) if isfinite(at)]
        here = [*conditions, *(condition for condition, _ in bounds)]
        found += await _page(session, query, here, [*values, *(at for _, at in bounds)], query.limit - len(found))
        if len(found) >= query.limit:
            break
    return [_execution(row) for row in found]


async def references(session: Session) -> set[tuple[str, str]]:
    rows = await knowing(session).rows(
        """
        SELECT tenant, payload FROM {s}.executions
            CROSS JOIN unnest(trigger_payloads || output_payloads || error_payloads) AS payload
        WHERE (trigger_payloads IS NOT NULL OR output_payloads IS NOT NULL OR error_payloads IS NOT NULL) AND {live}
        UNION
        SELECT tenant, payload FROM {s}.steps
            JOIN (SELECT number, created_at, tenant FROM {s}.executions WHERE {live}) AS live
                ON number = execution AND live.created_at = steps.created_at
            CROSS JOIN unnest(payloads) AS payload
        WHERE payloads IS NOT NULL
        """
    )
    names = await _long_names(session, {tenant for tenant, _ in rows if is_shortened(tenant)})
    return {(names.get(tenant) or original(tenant), sha256) for tenant, sha256 in rows}


async def _long_names(session: Session, shortened: set[str]) -> dict[str, str]:
    """The names of tenants that are too long for an index."""
    if not shortened:
        return {}
    rows = await session.rows(
        "SELECT DISTINCT ON (tenant) tenant, info FROM {s}.executions WHERE tenant = ANY ($1::text[])", list(shortened)
    )
    return {tenant: unpack_info(info).tenant for tenant, info in rows}


def _conditions(query: ExecutionQuery, last_created_at: float | None) -> tuple[list[str], list[Any]]:
    """What holds for every row, with `?` for the number of its parameter."""
    found: list[tuple[str, tuple[Any, ...]]] = [
        (f"{name} = ?", (name_of(value),))
        for name in ("tenant", "instance", "integration", "flow")
        if (value := getattr(query, name))
    ]
    if query.parent is not None:
        found.append(("parent = ?", (name_of(query.parent),)))
    if query.since is not None:
        found.append(("created_at >= ?", (query.since,)))
    if query.until is not None:
        found.append(("created_at < ?", (query.until,)))
    if query.text:
        # LIKE, so that an index of trigrams serves where somebody has made one.
        found.append(("error_text IS NOT NULL AND error_text LIKE ?", (f"%{_literally(searchable(query.text))}%",)))
    if last_created_at is not None:
        found.append(("(created_at, id) < (?, ?)", (last_created_at, plain(query.before))))
    return [condition for condition, _ in found], [value for _, values in found for value in values]


async def _page(
    session: Session, query: ExecutionQuery, conditions: list[str], values: list[Any], limit: int
) -> list[_Row]:
    """One indexed search a status, merged: an index gives one status in the order of time, not several."""
    statuses: Sequence[Status | None] = list(dict.fromkeys(query.statuses)) or [None]
    parameters: list[Any] = []
    parts: list[str] = []
    for status in statuses:
        where = _numbered(
            " AND ".join((*conditions, *(["status = ?"] if status else []), "{live}")), len(parameters) + 1
        )
        parameters += [*values, *([status.value] if status else [])]
        parts.append(_ONE_PAGE.replace("{where}", where))
    # Planned for these values: only so the planner sees which partitions they leave out.
    return (
        await knowing(session)
        .naming(pages=" UNION ALL ".join(parts), limit=str(limit))
        .rows(
            "SELECT status, attempts, started_at, ended_at, output, error, info FROM ({pages}) AS found "
            "ORDER BY created_at DESC, id DESC LIMIT {limit}",
            *parameters,
            prepare=False,
        )
    )


def _numbered(condition: str, first: int) -> str:
    """The condition with `$1`, `$2` and so on in the place of its question marks."""
    start, *pieces = condition.split("?")
    return start + "".join(f"${number}{piece}" for number, piece in enumerate(pieces, first))


def _stretches(bounds: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Partitions, the newest first, as stretches of time from the newest on."""
    left = iter(bounds)
    for size in _PAGES:
        if stretch := list(islice(left, size)):
            yield stretch[-1][0], stretch[0][1]
    if rest := list(left):
        yield rest[-1][0], rest[0][1]


def _literally(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _execution(row: _Row, steps: tuple[StepRecord, ...] = ()) -> ExecutionRecord:
    status, attempts, started_at, ended_at, output, error, info = row
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
        path=original(path),
        kind=original(kind),
        status=StepStatus(status),
        attempts=attempts,
        started_at=started_at,
        duration_ms=duration_ms,
        output=None if output is None else unpack(output),
        error=None if error is None else unpack_error(error),
    )
