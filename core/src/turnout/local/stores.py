"""The embedded stores of one project, opened together in its storage directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from turnout.errors import BackendError, SettingsError
from turnout.interfaces.clock import Clock
from turnout.interfaces.secrets import Secret, SecretStore
from turnout.local.bundles import BundleStore
from turnout.local.database import Database
from turnout.local.environment_secrets import EnvironmentSecrets
from turnout.local.file_payloads import FilePayloads
from turnout.local.file_secrets import FileSecrets
from turnout.local.keys import Keys
from turnout.local.sqlite_journal import SQLiteJournal
from turnout.local.sqlite_queue import SQLiteQueue
from turnout.local.sqlite_records import SQLiteRecords
from turnout.local.sqlite_state import SQLiteState

__all__ = ["Stores"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """Queue, journal and state share one database, since each commit is on the hot path; records have one of their own,
    so that batches of history never make a running execution wait."""

    directory: Path
    clock: Clock
    database: Database
    queue: SQLiteQueue
    journal: SQLiteJournal
    state: SQLiteState
    records: SQLiteRecords
    payloads: FilePayloads
    secrets: FileSecrets
    environment: EnvironmentSecrets
    keys: Keys
    bundles: BundleStore

    @classmethod
    def open(cls, directory: Path, clock: Clock, *, full: bool = False) -> Stores:
        """Open what is there, make what is not. `BackendError` says what is wrong with the directory."""
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            ignore = directory / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")
        except OSError as error:
            raise BackendError(f"{directory}: executions cannot be kept there: {error.strerror}") from error
        database = Database(directory / "turnout.db", full=full)
        keys = Keys(directory)
        return cls(
            directory=directory,
            clock=clock,
            database=database,
            queue=SQLiteQueue(database, clock=clock),
            journal=SQLiteJournal(database),
            state=SQLiteState(database, clock=clock),
            records=SQLiteRecords(directory / "records.db"),
            payloads=FilePayloads(directory / "payloads", clock=clock, sync=full),
            secrets=FileSecrets(directory / "secrets.json", keys),
            environment=EnvironmentSecrets(),
            keys=keys,
            bundles=BundleStore(directory),
        )

    async def secret(self, written: str) -> Secret:
        """What a connection's field means: a reference (`env:NAME`, `secret:NAME`) is looked up, other text is itself."""
        scheme, colon, name = written.partition(":")
        stores: dict[str, SecretStore] = {self.environment.scheme: self.environment, self.secrets.scheme: self.secrets}
        if not colon or scheme not in stores:
            return Secret(written)
        if not name:
            raise SettingsError(f"the reference `{scheme}:` names nothing", setting=written)
        return await stores[scheme].get(name)

    async def close(self) -> None:
        for store in (
            self.queue,
            self.journal,
            self.state,
            self.records,
            self.payloads,
            self.secrets,
            self.environment,
        ):
            await store.close()
        self.database.close()
