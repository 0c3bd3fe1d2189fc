"""The versions of the tables: numbered files of SQL, run by hand with `turnout postgres migrate`.

Each runs in a transaction of its own under an advisory lock, so that of two who migrate at once one waits and then finds
it done; what was run is written down with the checksum of its text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from turnout.errors import BackendError

if TYPE_CHECKING:
    from turnout_postgres.database import Session

__all__ = ["Migration", "Migrations", "known_migrations"]

COMMAND: Final = "turnout postgres migrate"
_FILE: Final = re.compile(r"(\d{4})_([a-z_]+)\.sql")

_DONE: Final = """INSERT INTO migrations (version, name, checksum)
    VALUES ({migration.version}, '{migration.name}', '{migration.checksum}');"""

_TABLE: Final = """
    CREATE TABLE IF NOT EXISTS migrations (
        version integer PRIMARY KEY,
        name text NOT NULL,
        checksum text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    )
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step: `sql` names tables without their schema, which is first in the search path when it runs."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrations:
    """What this Turnout knows beside what was applied to a schema: versions, each with its name and checksum."""

    schema: str
    known: Sequence[Migration]
    applied: Mapping[int, tuple[str, str]]

    @classmethod
    async def read(cls, session: Session, known: Sequence[Migration] | None = None) -> Migrations:
        """Of a schema as it is; of one that is not there, nothing is applied."""
        # Looked up in the tables: to_regclass may answer what was so before somebody else's migration.
        there = await session.holds(
            "SELECT FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = $1 AND relname = 'migrations'",
            session.schema,
        )
        applied: list[tuple[Any, ...]] = []
        if there:
            applied = await session.rows("SELECT version, name, checksum FROM {s}.migrations ORDER BY version")
        return cls(
            schema=session.schema,
            known=known_migrations() if known is None else known,
            applied={version: (name, checksum) for version, name, checksum in applied},
        )

    @property
    def pending(self) -> list[Migration]:
        """Those to run, in order."""
        return [migration for migration in self.known if migration.version not in self.applied]

    def check(self) -> None:
        """`BackendError` if the tables are behind, ahead, or were made by something else."""
        self.check_applied()
        if self.pending:
            behind = ", ".join(f"{migration.version} ({migration.name})" for migration in self.pending)
            raise BackendError(
                f"PostgreSQL: schema {self.schema!r} is behind: {behind} to apply. Run: {COMMAND}"
                + ("" if self.applied else " (or set migrate = true in [backends.postgres], for development)")
            )

    def check_applied(self) -> None:
        """`BackendError` if a newer Turnout made the tables, or a migration is not the one that was applied."""
        known = {migration.version: migration for migration in self.known}
        for version, (name, checksum) in self.applied.items():
            migration = known.get(version)
            if migration is None:
                raise BackendError(
                    f"PostgreSQL: schema {self.schema!r} is ahead: a newer Turnout applied migration {version} ({name}). "
                    "This Turnout is too old for it: upgrade turnout-postgres"
                )
            if migration.checksum != checksum:
                raise BackendError(
                    f"PostgreSQL: schema {self.schema!r}: migration {version} ({name}) was changed since it was applied. "
                    "Install the turnout-postgres that applied it"
                )

    def script(self) -> str:
        """The pending ones as one text, for people to read or to give to psql."""
        parts = [
            f'CREATE SCHEMA IF NOT EXISTS "{self.schema}";',
            f'SET search_path TO "{self.schema}";',
            f"{_TABLE.strip()};",
        ]
        for migration in self.pending:
            done = _DONE.format(migration=migration)
            parts.append(
                f"BEGIN;\n-- {migration.version:04} {migration.name}\n{migration.sql.strip()}\n{done}\nCOMMIT;"
            )
        return "\n\n".join(parts) + "\n"

    async def apply(self, session: Session) -> list[Migration]:
        """Run what is pending; those that this call ran. `BackendError` as `check_applied`."""
        ran: list[Migration] = []
        for migration in self.known:
            async with session.transaction():
                # Whoever migrates waits: for another who does so, and for tables of any size.
                await session.script("SET LOCAL statement_timeout = 0")
                await session.rows(
                    "SELECT pg_advisory_xact_lock(hashtext('turnout migrations'), hashtext($1))", self.schema
                )
                # Only now: somebody else may have run it while we waited.
                found = await Migrations.read(session, self.known)
                found.check_applied()
                if migration.version in found.applied:
                    continue
                await self._run(session, migration)
                ran.append(migration)
        return ran

    async def _run(self, session: Session, migration: Migration) -> None:
        # Looked for first: CREATE SCHEMA IF NOT EXISTS wants the right to create one even where it is there.
        if await session.one("SELECT 1 FROM pg_namespace WHERE nspname = $1", self.schema) is None:
            await session.script(f'CREATE SCHEMA IF NOT EXISTS "{self.schema}"')
        await session.script(f'SET LOCAL search_path TO "{self.schema}"')
        await session.script(_TABLE)
        await session.script(migration.sql)
        await session.change(
            "INSERT INTO {s}.migrations (version, name, checksum) VALUES ($1, $2, $3)",
            migration.version,
            migration.name,
            migration.checksum,
        )


@cache
def known_migrations() -> tuple[Migration, ...]:
    """Those of this distribution, in order."""
    files = resources.files("turnout_postgres.migrations").iterdir()
    found = [
        Migration(version=int(name[1]), name=name[2], sql=file.read_text(encoding="utf-8"))
        for file in files
        if (name := _FILE.fullmatch(file.name))
    ]
    return tuple(sorted(found, key=lambda migration: migration.version))
