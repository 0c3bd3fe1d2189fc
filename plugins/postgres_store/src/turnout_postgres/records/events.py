"""Events that come as they like, kept beside the records: until their execution is pruned, so that what comes twice is known, and
a record can be made again when one comes late."""

from __future__ import annotations

from collections.abc import Sequence

from turnout.interfaces.journal import JournalEntry, Row
from turnout.interfaces.records import KeptEvents

from turnout_postgres.database import Session
from turnout_postgres.plain_text import original, plain
from turnout_postgres.records.changes import Changes
from turnout_postgres.records.writing import apply_anew, lock_state

__all__ = ["forget", "keep", "record"]

_KEEP = """
    INSERT INTO {s}.record_events (execution, position, kind, body)
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bytea[]) ON CONFLICT DO NOTHING
"""

_STATES = """
    SELECT execution, count(*), array_agg(position) FILTER (WHERE NOT recorded),
        coalesce(max(position) FILTER (WHERE recorded), 0)
    FROM {s}.record_events WHERE execution = ANY ($1::text[]) GROUP BY execution
"""

_FROM = """
    SELECT execution, position, kind, body
    FROM unnest($1::text[], $2::bigint[]) AS asked (id, first)
    JOIN {s}.record_events ON execution = id AND position >= first ORDER BY execution, position
"""

_FORGET = """
    DELETE FROM {s}.record_events
    WHERE position <= (SELECT max(position) FROM {s}.record_events WHERE execution = ANY ($1::text[]))
    AND (execution = ANY ($1::text[]) OR NOT EXISTS (SELECT 1 FROM {s}.record_ids WHERE id = execution))
"""

_State = tuple[int, frozenset[int], int]
"""How many events are kept, the positions that the record lacks, and the last that it has."""


async def keep(session: Session, entries: Sequence[JournalEntry]) -> list[KeptEvents]:
    """What the records lack of these events' executions, once these are kept."""
    row = await session.one("SELECT position FROM {s}.record_state")
    applied = int(row[0]) if row else 0
    # In one order, so that two who keep the same wait for each other and not both.
    new = sorted(
        {(plain(entry.execution), entry.position): entry for entry in entries if entry.position > applied}.items()
    )
    if not new:
        return []
    await session.change(
        _KEEP,
        [execution for (execution, _), _ in new],
        [position for (_, position), _ in new],
        [plain(entry.row.kind) for _, entry in new],
        [entry.row.body for _, entry in new],
    )
    states = await _states(session, list(dict.fromkeys(execution for (execution, _), _ in new)))
    lacking = {id: state for id, state in states.items() if state[1]}
    firsts = {id: 0 if min(missing) < last else min(missing) for id, (_, missing, last) in lacking.items()}
    found: dict[str, list[JournalEntry]] = {id: [] for id in firsts}
    for id, position, kind, body in await session.rows(_FROM, list(firsts), list(firsts.values())):
        found[id].append(JournalEntry(position=position, execution=original(id), row=Row(kind, bytes(body))))
    return [
        KeptEvents(
            execution=original(id),
            entries=tuple(found[id]),
            lacking=missing,
            kept=count,
            anew=min(missing) < last,
        )
        for id, (count, missing, last) in lacking.items()
    ]


async def record(session: Session, kept: Sequence[KeptEvents], changes: Changes) -> bool:
    """Whether the batch was made of what is kept now."""
    position, _, removed = await lock_state(session)
    states = await _states(session, [plain(one.execution) for one in kept])
    for one in kept:
        count, lacking, _ = states.get(plain(one.execution), (0, frozenset(), 0))
        if (count, lacking) != (one.kept, one.lacking):
            return False
    anew = [plain(one.execution) for one in kept if one.anew]
    await apply_anew(session, changes, removed, position=position, anew=anew)
    await session.change(
        "UPDATE {s}.record_events SET recorded = true WHERE execution = ANY ($1::text[]) AND NOT recorded",
        list(states),
    )
    return True


async def forget(session: Session, removed: Sequence[str]) -> None:
    """Forget the events of executions that are removed, and of those before them of which there is no record: they were removed
    earlier, and came again."""
    await session.change(_FORGET, [plain(id) for id in removed])


async def _states(session: Session, ids: list[str]) -> dict[str, _State]:
    rows = await session.rows(_STATES, ids)
    return {id: (count, frozenset(lacking or ()), last) for id, count, lacking, last in rows}
