"""Applying a batch, within the caller's transaction: a few statements for each partition that it touches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any
from uuid import UUID

from turnout.interfaces.records import MOST_SANDBOXES
from turnout.model.execution import Status

from turnout_postgres.database import Session
from turnout_postgres.plain_text import name_of, plain
from turnout_postgres.records.changes import Change, Changes
from turnout_postgres.records.partitions import Partition, make_missing, partition_of
from turnout_postgres.records.removed import Removed

__all__ = ["apply", "apply_anew", "erase", "lock_state"]

_INSERT = """
    INSERT INTO {executions} (
        number, created_at, id, tenant, instance, integration, flow, parent, status, attempts, started_at, ended_at, changed,
        error_text, trigger_payloads, output_payloads, error_payloads, info, output, error, sandboxes
    )
    SELECT number, created_at, id, tenant, instance, integration, flow, parent, status, attempts, started_at, ended_at, $1,
        error_text, string_to_array(named, ' '), string_to_array(by_output, ' '), string_to_array(by_error, ' '),
        info, output, error, sandboxes
    FROM unnest(
        $2::bigint[], $3::float8[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
        $11::bigint[], $12::float8[], $13::float8[], $14::text[], $15::text[], $16::text[], $17::text[], $18::bytea[],
        $19::bytea[], $20::bytea[], $21::text[]
    ) AS new (
        number, created_at, id, tenant, instance, integration, flow, parent, status, attempts, started_at, ended_at,
        error_text, named, by_output, by_error, info, output, error, sandboxes
    )
"""

_UPDATE = """
    UPDATE {executions} AS old SET
        changed = $1,
        status = coalesce(new.status, old.status),
        attempts = coalesce(new.attempts, old.attempts),
        started_at = coalesce(old.started_at, new.started_at),
        ended_at = CASE WHEN reopened THEN new.ended_at ELSE coalesce(new.ended_at, old.ended_at) END,
        output = CASE WHEN reopened OR new.output IS NOT NULL THEN new.output ELSE old.output END,
        output_payloads = CASE WHEN reopened OR new.output IS NOT NULL
            THEN string_to_array(by_output, ' ') ELSE output_payloads END,
        error = CASE WHEN reopened OR new.error IS NOT NULL THEN new.error ELSE old.error END,
        error_text = CASE WHEN reopened OR new.error IS NOT NULL THEN new.error_text ELSE old.error_text END,
        error_payloads = CASE WHEN reopened OR new.error IS NOT NULL
            THEN string_to_array(by_error, ' ') ELSE error_payloads END,
        sandboxes = CASE WHEN new.sandboxes IS NULL THEN old.sandboxes ELSE array_to_string((string_to_array(
            rtrim(coalesce(old.sandboxes, '') || new.sandboxes, E'\\n'), E'\\n'
        ))[:$13], E'\\n') || E'\\n' END
    FROM unnest(
        $2::bigint[], $3::text[], $4::bigint[], $5::float8[], $6::float8[], $7::bytea[], $8::text[], $9::bytea[],
        $10::text[], $11::text[], $12::bool[], $14::text[]
    ) AS new (
        number, status, attempts, started_at, ended_at, output, by_output, error, error_text, by_error, reopened, sandboxes
    )
    WHERE old.number = new.number
"""

# A slash follows a dot in order, a backslash an opening bracket: `each`, `each.a`, `each[3].a`, but not `each2`.
_DROP_STEPS = """
    DELETE FROM {steps} USING unnest($1::bigint[], $2::text[]) AS gone (number, start)
    WHERE execution = number AND (
        path = start OR path >= start || '.' AND path < start || '/' OR path >= start || '[' AND path < start || '\\'
    )
"""

_STEPS = """
    INSERT INTO {steps} (
        execution, created_at, key, path, kind, status, attempts, started_at, duration_ms, payloads, output, error
    )
    SELECT execution, created_at, key, path, kind, status, attempts, started_at, duration_ms,
        string_to_array(named, ' '), output, error
    FROM unnest(
        $1::bigint[], $2::float8[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::float8[],
        $9::float8[], $10::text[], $11::bytea[], $12::bytea[]
    ) AS new (execution, created_at, key, path, kind, status, attempts, started_at, duration_ms, named, output, error)
    ON CONFLICT (execution, key, created_at) DO UPDATE SET
        kind = excluded.kind, status = excluded.status, attempts = excluded.attempts, started_at = excluded.started_at,
        duration_ms = excluded.duration_ms, payloads = excluded.payloads, output = excluded.output, error = excluded.error
"""

_LAST_LINES = """
    SELECT asked, coalesce((SELECT max(number) FROM {logs} WHERE execution = asked), 0) FROM unnest($1::bigint[]) AS asked
"""

_LOGS = """
    INSERT INTO {logs} (execution, created_at, number, at, level, message, path)
    SELECT * FROM unnest($1::bigint[], $2::float8[], $3::bigint[], $4::float8[], $5::text[], $6::text[], $7::text[])
"""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an execution stands."""

    id: str
    number: int
    created_at: float

    @property
    def partition(self) -> Partition:
        return partition_of(self.created_at)


async def lock_state(session: Session) -> tuple[int, UUID | None, Removed]:
    """The position applied, by which call, and what is removed; nobody else writes until the transaction ends."""
    row = await session.one("SELECT position, call, removed_before, removed_at FROM {s}.record_state FOR UPDATE")
    assert row is not None
    position, call, before, at = row
    return position, call, Removed(before=before, at=at)


async def apply(session: Session, changes: Changes, call: UUID) -> bool:
    """Whether the batch was new; a call that is made twice, since it is not known what became of it, answers the same
    twice. What is said of executions that are not there is left out."""
    position, last_call, removed = await lock_state(session)
    if changes.position <= position:
        return last_call == call
    await _apply(session, changes, await _find(session, changes.ids, removed))
    await session.change("UPDATE {s}.record_state SET position = $1, call = $2", changes.position, call)
    return True


async def apply_anew(
    session: Session, changes: Changes, removed: Removed, *, position: int, anew: Sequence[str]
) -> None:
    """Apply a batch that is no part of the stream, whose position stays; of `anew`, what is there is deleted first, where the batch
    says what they are. The caller holds the lock."""
    found = await _find(session, changes.ids, removed)
    told = {id for id in anew if id in found and changes.executions[id].info is not None}
    for partition, places in _by_partition(found[id] for id in told):
        await erase(partition.of(session), [place.number for place in places])
    await _apply(session, replace(changes, position=position), {id: found[id] for id in found if id not in told})


async def _apply(session: Session, changes: Changes, found: Mapping[str, _Place]) -> None:
    made = await _create(session, changes, found)
    for partition, places in _by_partition(found.values()):
        await _update(partition.of(session), changes, places)
        await _drop_steps(partition.of(session), changes, places)
    for partition, places in _by_partition((*found.values(), *made.values())):
        await _add_steps(partition.of(session), changes, places)
        await _add_logs(partition.of(session), changes, places)


async def erase(session: Session, numbers: Sequence[int]) -> None:
    """Delete executions row by row, in a partition's session; the caller holds the lock."""
    given = list(numbers)
    await session.change("DELETE FROM {steps} WHERE execution = ANY ($1::bigint[])", given)
    await session.change("DELETE FROM {logs} WHERE execution = ANY ($1::bigint[])", given)
    await session.change(
        """WITH gone AS (DELETE FROM {executions} WHERE number = ANY ($1::bigint[]) RETURNING id)
        DELETE FROM {s}.record_ids USING gone WHERE record_ids.id = gone.id""",
        given,
    )


async def _find(session: Session, ids: list[str], removed: Removed) -> dict[str, _Place]:
    """Those that are there. What is left of removed ones is deleted: one of the same id may come."""
    rows = await session.rows(
        "SELECT id, number, created_at FROM {s}.record_ids WHERE id = ANY ($1::text[])", ids, prepare=True
    )
    there: dict[str, _Place] = {}
    for partition, places in _by_partition(_Place(*row) for row in rows):
        numbers = [place.number for place in places]
        alive = await partition.of(session).rows(
            "SELECT number FROM {executions} WHERE {is_live} AND number = ANY ($3::bigint[])",
            *removed.parameters,
            numbers,
        )
        live = {number for (number,) in alive}
        there |= {place.id: place for place in places if place.number in live}
        if len(live) < len(numbers):
            await erase(partition.of(session), [number for number in numbers if number not in live])
    return there


async def _create(session: Session, changes: Changes, there: Mapping[str, _Place]) -> dict[str, _Place]:
    """Add the new ones, with everything that the batch says of them."""
    new = {
        id: (change, change.info)
        for id, change in changes.executions.items()
        if id not in there and change.info is not None
    }
    if not new:
        return {}
    rows = await session.rows(
        """INSERT INTO {s}.record_ids (id, created_at) SELECT * FROM unnest($1::text[], $2::float8[])
        RETURNING id, number, created_at""",
        list(new),
        [info.created_at for _, info in new.values()],
    )
    made = [_Place(*row) for row in rows]
    await make_missing(session, {place.partition for place in made})
    for partition, places in _by_partition(made):
        lines = [_whole(place, *new[place.id]) for place in places]
        await partition.of(session).change(_INSERT, changes.position, *_columns(lines))
    return {place.id: place for place in made}


def _whole(place: _Place, change: Change, info: Any) -> tuple[Any, ...]:
    return (
        place.number,
        place.created_at,
        place.id,
        *(name_of(getattr(info, name)) for name in ("tenant", "instance", "integration", "flow", "parent")),
        change.status or Status.QUEUED.value,
        change.attempts or 0,
        change.started_at,
        change.ended_at,
        change.error_text,
        change.trigger_payloads,
        change.output_payloads,
        change.error_payloads,
        change.packed_info,
        change.output,
        change.error,
        change.sandboxes,
    )


async def _update(session: Session, changes: Changes, places: list[_Place]) -> None:
    lines = [
        (
            place.number,
            change.status,
            change.attempts,
            change.started_at,
            change.ended_at,
            change.output,
            change.output_payloads,
            change.error,
            change.error_text,
            change.error_payloads,
            change.reopened,
            change.sandboxes,
        )
        for place in places
        if (change := changes.executions.get(place.id)) is not None and change.is_update
    ]
    if lines:
        *columns, sandboxes = _columns(lines)
        await session.change(_UPDATE, changes.position, *columns, MOST_SANDBOXES, sandboxes)


async def _drop_steps(session: Session, changes: Changes, places: list[_Place]) -> None:
    lines = [
        (place.number, path)
        for place in places
        if (change := changes.executions.get(place.id)) is not None
        for path in change.dropped
    ]
    if lines:
        await session.change(_DROP_STEPS, *_columns(lines))


async def _add_steps(session: Session, changes: Changes, places: list[_Place]) -> None:
    lines = [
        (
            place.number,
            place.created_at,
            name_of(step.path),
            step.path,
            step.kind,
            step.status,
            step.attempts,
            step.started_at,
            step.duration_ms,
            step.payloads,
            step.output,
            step.error,
        )
        for place in places
        for step in changes.steps.get(place.id, {}).values()
    ]
    if lines:
        await session.change(_STEPS, *_columns(lines))


async def _add_logs(session: Session, changes: Changes, places: list[_Place]) -> None:
    logging = {place.number: place for place in places if place.id in changes.logs}
    if not logging:
        return
    last: dict[int, int] = dict(await session.rows(_LAST_LINES, list(logging)))
    lines = [
        (number, place.created_at, n, line.at, plain(line.level), plain(line.message), plain(line.path))
        for number, place in logging.items()
        for n, line in enumerate(changes.logs[place.id], start=last[number] + 1)
    ]
    await session.change(_LOGS, *_columns(lines))


def _by_partition(places: Iterable[_Place]) -> list[tuple[Partition, list[_Place]]]:
    ordered = sorted(places, key=lambda place: (place.partition.since, place.number))
    return [(partition, list(group)) for partition, group in groupby(ordered, key=lambda place: place.partition)]


def _columns(lines: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*lines, strict=True)]
