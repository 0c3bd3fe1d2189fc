"""Looks for something in all that a project keeps, as it is kept: every file, table and key, in the encodings that it may have.

Left out is what the catalog promises to remember of a removed document for a day: where it was and how often it was written.
"""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from turnout_ecs.testing.servers import RedisServer

__all__ = ["Kept", "forms"]

_SQLITE = b"SQLite format 3\0"


def forms(text: str) -> list[bytes]:
    """As it is, in hex, and in base64 wherever in the encoded content it begins."""
    plain = text.encode()
    found = [plain, plain.hex().encode()]
    for before in range(3):
        coded = base64.b64encode(bytes(before) + plain)
        # What depends on the bytes around it is left out.
        start, end = -(-before * 8 // 6), (before + len(plain)) * 8 // 6
        found += [coded[start:end], coded[start:end].replace(b"+", b"-").replace(b"/", b"_")]
    return found


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Where a project keeps what it has."""

    directory: Path
    redis: RedisServer | None = None
    postgres: str = ""

    def places_of(self, text: str) -> list[str]:
        """Where it is found."""
        wanted = forms(text)
        return [place for place, content in self._everything() if any(form in content for form in wanted)]

    def _everything(self) -> Iterator[tuple[str, bytes]]:
        for path in sorted(self.directory.rglob("*")):
            if not path.is_file() or path.name.endswith(("-wal", "-shm")):
                continue  # what is in a log is in its database as it is read
            content = path.read_bytes()
            if content.startswith(_SQLITE):
                yield from _sqlite(path)
            else:
                yield f"file {path.name}", str(path).encode() + b"\n" + content
        if self.redis is not None:
            yield from _redis(self.redis)
        if self.postgres:
            yield from _postgres(self.postgres)


def _sqlite(path: Path) -> Iterator[tuple[str, bytes]]:
    with sqlite3.connect(path) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            kept = " WHERE body IS NOT NULL" if table == "catalog" else ""
            for row in connection.execute(f'SELECT * FROM "{table}"{kept}'):
                yield f"table {table}", b"\n".join(_bytes(value) for value in row)
    connection.close()


def _redis(server: RedisServer) -> Iterator[tuple[str, bytes]]:
    reads = {
        b"string": ("GET",),
        b"hash": ("HGETALL",),
        b"list": ("LRANGE", 0, -1),
        b"set": ("SMEMBERS",),
        b"zset": ("ZRANGE", 0, -1),
        b"stream": ("XRANGE", "-", "+"),
    }
    for key in server.command("KEYS", "*"):
        verb, *more = reads[_bytes(server.command("TYPE", key))]
        yield f"key {_bytes(key).decode(errors='replace')}", _bytes([key, server.command(str(verb), key, *more)])


def _postgres(url: str) -> Iterator[tuple[str, bytes]]:
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        for (table,) in tables:
            kept = " WHERE body IS NOT NULL" if table.endswith(".catalog") else ""
            for (row,) in connection.execute(f"SELECT t::text FROM {table} AS t{kept}"):
                yield f"table {table}", row.encode()


def _bytes(value: Any) -> bytes:
    match value:
        case bytes():
            return value
        case list() | tuple() | set():
            return b"\n".join(_bytes(part) for part in value)
        case _:
            return str(value).encode()
