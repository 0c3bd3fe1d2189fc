"""Rows on their way to Redis and back.

A body above 16 KB does not pass through Lua, which copies what it handles: it is a value of its own, sent before the
script that writes the row, and expires unless that script keeps it. The row names it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from turnout.interfaces.journal import Row

from turnout_ecs.connection import Connection
from turnout_ecs.journal.keys import JournalKeys
from turnout_ecs.scripts import Script

__all__ = ["SEPARATE_BYTES", "Parcel", "pack", "unpack"]

SEPARATE_BYTES: Final = 16 * 1024

_UNKEPT_MS: Final = 600_000
"""How long a separate body waits for its row: longer than anything is sent again."""

_ROW_BYTES: Final = 64
"""What a row costs beside its body, about."""

_AT_ONCE: Final = 64
"""Separate bodies asked for at once: 16 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """Rows ready to be sent: the last arguments of a script, and the separate bodies by their keys."""

    arguments: Sequence[str | bytes]
    bodies: Sequence[tuple[bytes, bytes]]
    size: int

    def run(
        self,
        connection: Connection,
        script: Script,
        keys: Sequence[bytes],
        args: Sequence[str | int],
        *,
        patience_s: float,
    ) -> asyncio.Future[Any]:
        """Send the separate bodies and then the script, with the rows as its last arguments. Sending it all again never
        makes a body that is kept expire."""
        for key, body in self.bodies:
            sent = connection.call("SET", key, body, "NX", "PX", _UNKEPT_MS, safe=True, patience_s=patience_s)
            sent.add_done_callback(_look)  # if it fails, the script finds no body, or fails as well
        return connection.run(
            script,
            (*keys, *(key for key, _ in self.bodies)),
            (*args, *self.arguments),
            patience_s=patience_s,
        )


def pack(keys: JournalKeys, rows: Sequence[Row]) -> Parcel:
    arguments: list[str | bytes] = []
    bodies: list[tuple[bytes, bytes]] = []
    for row in rows:
        if len(row.body) > SEPARATE_BYTES:
            id_ = secrets.token_hex(12)
            bodies.append((keys.body(id_), row.body))
            arguments += (row.kind, "at", id_)
        else:
            arguments += (row.kind, "body", row.body)
    return Parcel(arguments=arguments, bodies=bodies, size=sum(len(row.body) + _ROW_BYTES for row in rows))


async def unpack(
    connection: Connection, keys: JournalKeys, found: Sequence[Sequence[bytes]], *, patience_s: float
) -> list[tuple[str, Row] | None]:
    """Executions and rows from the fields of stream entries; None for one whose separate body is there no more, since it
    was forgotten meanwhile."""
    at = [keys.body(fields[5].decode()) for fields in found if fields[4] == b"at"]
    fetched: list[bytes | None] = []
    for start in range(0, len(at), _AT_ONCE):
        some = at[start : start + _AT_ONCE]
        fetched += await asyncio.gather(
            *(connection.call("GET", key, safe=True, patience_s=patience_s) for key in some)
        )
    bodies = iter(fetched)
    rows: list[tuple[str, Row] | None] = []
    for _, execution, _, kind, form, value in found:
        body = next(bodies) if form == b"at" else value
        rows.append(None if body is None else (execution.decode(), Row(kind.decode(), body)))
    return rows


def _look(future: asyncio.Future[Any]) -> None:
    """Nobody waits for it; a failure that nobody looked at would be logged."""
    if not future.cancelled():
        future.exception()
