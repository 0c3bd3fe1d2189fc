"""The tables of the record store, and how values stand in them."""

from __future__ import annotations

from typing import Final

from turnout.codec import pack, pack_error
from turnout.local.database import Migration
from turnout.model.execution import ErrorInfo
from turnout.model.payload import Encoded

__all__ = ["FINAL", "MIGRATIONS", "packed", "packed_error", "payloads", "searchable"]

FINAL: Final = "('succeeded', 'failed', 'cancelled')"
"""`Status.final` in SQL."""

MIGRATIONS: Final[tuple[Migration, ...]] = (
    (
        "CREATE TABLE record_position (position INTEGER NOT NULL)",
        "INSERT INTO record_position VALUES (0)",
        """CREATE TABLE executions (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            tenant TEXT NOT NULL,
            instance TEXT NOT NULL,
            integration TEXT NOT NULL,
            flow TEXT NOT NULL,
            parent TEXT NOT NULL,
            status TEXT NOT NULL,
            created_at REAL NOT NULL,
            started_at REAL,
            ended_at REAL,
            attempts INTEGER NOT NULL DEFAULT 0,
            error_text TEXT,
            info BLOB NOT NULL,
            output BLOB,
            error BLOB
        )""",
        # One index a filter, each in the order of the pages, so that no search reads more than it returns.
        "CREATE INDEX executions_by_time ON executions (created_at, id)",
        "CREATE INDEX executions_by_tenant ON executions (tenant, created_at, id)",
        "CREATE INDEX executions_by_tenant_and_status ON executions (tenant, status, created_at, id)",
        "CREATE INDEX executions_by_instance ON executions (instance, created_at, id)",
        "CREATE INDEX executions_by_instance_and_status ON executions (instance, status, created_at, id)",
        "CREATE INDEX executions_by_integration ON executions (integration, created_at, id)",
        "CREATE INDEX executions_by_flow ON executions (flow, created_at, id)",
        "CREATE INDEX executions_by_status ON executions (status, created_at, id)",
        "CREATE INDEX executions_by_parent ON executions (parent, created_at, id)",
        "CREATE INDEX executions_with_error ON executions (created_at, id) WHERE error_text IS NOT NULL",
        "CREATE INDEX executions_by_end ON executions (ended_at) WHERE ended_at IS NOT NULL",
        """CREATE TABLE steps (
            execution INTEGER NOT NULL,
            path TEXT NOT NULL,
            kind TEXT NOT NULL,
            status TEXT NOT NULL,
            attempts INTEGER NOT NULL,
            started_at REAL NOT NULL,
            duration_ms REAL NOT NULL,
            output BLOB,
            error BLOB,
            UNIQUE (execution, path)
        )""",
        """CREATE TABLE logs (
            execution INTEGER NOT NULL,
            number INTEGER NOT NULL,
            at REAL NOT NULL,
            level TEXT NOT NULL,
            message TEXT NOT NULL,
            path TEXT NOT NULL,
            PRIMARY KEY (execution, number)
        ) WITHOUT ROWID""",
        # Which payload is named where: `place` is a step's path behind a slash, or `trigger`, `output`, `error`.
        """CREATE TABLE record_payloads (
            execution INTEGER NOT NULL,
            place TEXT NOT NULL,
            sha256 TEXT NOT NULL,
            PRIMARY KEY (execution, place, sha256)
        ) WITHOUT ROWID""",
    ),
    # `turnout.codec.pack_receipts`; null if there is none.
    ("ALTER TABLE executions ADD COLUMN sandboxes TEXT",),
    # Events that did not come as a stream: until their execution is pruned, so that what comes twice is known.
    (
        """CREATE TABLE record_events (
            execution TEXT NOT NULL,
            position INTEGER NOT NULL,
            kind TEXT NOT NULL,
            body BLOB NOT NULL,
            recorded INTEGER NOT NULL DEFAULT 0,
            UNIQUE (execution, position)
        )""",
    ),
)


def packed(value: Encoded | None) -> bytes | None:
    return None if value is None else pack(value)


def packed_error(error: ErrorInfo | None) -> bytes | None:
    return None if error is None else pack_error(error)


def searchable(error: ErrorInfo | None) -> str | None:
    """The error's message as searches compare it: without case, and without what SQLite cannot store as text."""
    return None if error is None else error.message.casefold().encode("utf-8", "replace").decode()


def payloads(*values: Encoded | ErrorInfo | None) -> set[str]:
    """The hashes of all content that these values name and do not carry themselves."""
    found: set[str] = set()
    for value in values:
        encoded = value.details if isinstance(value, ErrorInfo) else value
        if encoded is not None:
            files = [file for _, file in encoded.files]
            if encoded.stored is not None:
                files.append(encoded.stored)
            found.update(file.sha256 for file in files if file.data is None)
    return found
