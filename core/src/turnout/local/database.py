"""The one place that opens SQLite: settings, transactions, migrations and errors of every local store.

A `Database` is one connection. Calls run inline, on the event loop too: a commit takes 25-40 µs, a hop to a thread more.
Write-ahead logging lets other processes read while one writes; a writer waits for another's commit (milliseconds) up to
`busy_timeout_s`. Synchronous NORMAL survives the death of every process; FULL (`full`) waits for the disk at each commit
and survives loss of power. Imports nothing of Turnout but errors and the durability classes.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from turnout.errors import BackendError
from turnout.local.group_commit import GroupCommit
from turnout.model.durability import Durability

__all__ = ["Database", "Migration"]

_T = TypeVar("_T")

Migration = Sequence[str]
"""The SQL statements that take a component's tables from one version to the next."""

_WAL_LIMIT_BYTES: Final = 16 * 1024 * 1024
"""The write-ahead log is cut back to this after a checkpoint; without a limit it keeps its largest size for ever."""

_INCREMENTAL: Final = 2
"""What `PRAGMA auto_vacuum` answers where it is INCREMENTAL."""

_KEEP_FREE_PAGES: Final = 2048
"""Free pages (8 MiB) that stay in the file: new rows reuse them without growing the file again."""

_RECLAIM_PAGES: Final = 1024
"""Pages given back to the file system in one transaction, so that a large clean-up does not lock others out."""

_VERSIONS: Final = (
    "CREATE TABLE IF NOT EXISTS turnout_versions (component TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID"
)


class Database:
    """A SQLite file, made with its folders if absent, readable by its owner alone.

    Usable from any thread: a lock is held for each statement outside a transaction and for the whole of each
    transaction. Everything raises `BackendError` for a full disk, a damaged file, a lock held too long.
    """

    def __init__(self, path: str | Path, *, full: bool = False, busy_timeout_s: float = 10.0) -> None:
        self.path = Path(path)
        self.full = full
        self.busy_timeout_s = busy_timeout_s
        self._lock = threading.RLock()
        self._closed = False
        self._group: GroupCommit | None = None
        try:
            self._connection = self._open()
        except (sqlite3.DatabaseError, OSError) as error:
            raise self._translated(error) from error

    @property
    def durability(self) -> Durability:
        """What a commit survives."""
        return Durability.HOST if self.full else Durability.PROCESS

    def another(self, *, full: bool | None = None) -> Database:
        """A further connection to the same file, for another thread or another synchronous setting."""
        return Database(self.path, full=self.full if full is None else full, busy_timeout_s=self.busy_timeout_s)

    @property
    def group(self) -> GroupCommit:
        """The group commit of this database, made when first asked for: where several writers share a flush."""
        with self._lock:
            if self._group is None:
                self._group = GroupCommit(self.another())
            return self._group

    async def write(self, write: Callable[[sqlite3.Connection], _T], *, durable: bool = True) -> _T:
        """Run `write` in a transaction, and return its result once it is committed.

        Inline, or, with `full`, in a transaction that it shares with others on a thread, so that the event loop never
        waits for the disk; then `durable=False` does not wait for it either (it survives our processes all the same).
        `write` must not have changed anything when it raises a `TurnoutError`: its neighbours are committed.
        """
        if self.full:
            return await self.group.run(write, durable=durable)
        with self.transaction() as connection:
            return write(connection)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A write transaction: committed at the end of the block, rolled back if it raises. Does not nest."""
        with self._lock:
            connection = self._connection
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except BaseException as error:
                self._roll_back()
                if isinstance(error, sqlite3.DatabaseError):
                    raise self._translated(error) from error
                raise

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A read transaction: every statement of the block sees the same state. Does not nest."""
        with self._lock:
            try:
                self._connection.execute("BEGIN")
                yield self._connection
            except sqlite3.DatabaseError as error:
                raise self._translated(error) from error
            finally:
                self._roll_back()

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of one reading statement, within the running transaction of this thread if there is one."""
        with self._lock:
            try:
                return self._connection.execute(sql, parameters).fetchall()
            except sqlite3.DatabaseError as error:
                raise self._translated(error) from error

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run one writing statement, committed by itself outside a transaction; returns how many rows it changed."""
        with self._lock:
            try:
                return self._connection.execute(sql, parameters).rowcount
            except sqlite3.DatabaseError as error:
                raise self._translated(error) from error

    def change_mark(self) -> tuple[int, int]:
        """Differs from an earlier mark if anybody (this connection, another, another process) has written since.

        Takes a few microseconds and reads no table: for watching another process's work cheaply.
        """
        version: int = self.query("PRAGMA data_version")[0][0]
        return version, self._connection.total_changes

    def migrate(self, component: str, migrations: Sequence[Migration]) -> None:
        """Bring a component's tables to version `len(migrations)`, each migration once, all or nothing.

        `BackendError` if the file was written by a newer Turnout: nothing is changed then.
        """
        if self._version(component) == len(migrations):
            return
        with self.transaction() as connection:
            connection.execute(_VERSIONS)
            done = self._version(component)
            if done > len(migrations):
                raise BackendError(
                    f"{self.path}: its {component} tables have version {done}, this Turnout knows {len(migrations)}: "
                    "upgrade Turnout, or use another folder"
                )
            for statements in migrations[done:]:
                for statement in statements:
                    connection.execute(statement)
            connection.execute("REPLACE INTO turnout_versions VALUES (?, ?)", (component, len(migrations)))

    def _version(self, component: str) -> int:
        if not self.query("SELECT 1 FROM sqlite_schema WHERE name = 'turnout_versions'"):
            return 0
        rows = self.query("SELECT version FROM turnout_versions WHERE component = ?", (component,))
        return int(rows[0][0]) if rows else 0

    def size_bytes(self) -> int:
        """What the content takes, without free pages and the write-ahead log."""
        pages, free, page_bytes = (
            int(self.query(f"PRAGMA {name}")[0][0]) for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * page_bytes

    def reclaim(self) -> bool:
        """After rows were removed: give some free pages back to the file system, as long as there is more than a small
        reserve. A step takes milliseconds; True if it is worth calling again."""
        free = int(self.query("PRAGMA freelist_count")[0][0])
        if free <= _KEEP_FREE_PAGES:
            return False
        self.query(f"PRAGMA incremental_vacuum({min(_RECLAIM_PAGES, free - _KEEP_FREE_PAGES)})")
        return _KEEP_FREE_PAGES < int(self.query("PRAGMA freelist_count")[0][0]) < free

    def checkpoint(self) -> None:
        """Move the write-ahead log into the file and cut it, as far as no reader needs it."""
        self.query("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Commit what was sent and close the connection; later calls raise `BackendError`. Idempotent."""
        if self._group is not None:
            self._group.close()
        with self._lock:
            self._closed = True
            self._connection.close()

    async def aclose(self) -> None:
        """As `close`, for those who close parts that several backends share."""
        self.close()

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # SQLite would create the file by the umask: customers' data is nobody else's to read. A file that is there must not be
        # opened here: closing it again would drop the locks of this process's other connections (POSIX), and the next
        # process to leave would take away the write-ahead log under them (https://sqlite.org/howtocorrupt.html, 2.2).
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(
            self.path,
            timeout=self.busy_timeout_s,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=512,
        )
        try:
            self._configure(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _configure(self, connection: sqlite3.Connection) -> None:
        # Incremental: freed pages are reused by later rows and `reclaim` returns the rest. FULL would shuffle pages at
        # every commit, NONE would never shrink the file. It must be chosen before the first page is written.
        # Setting it takes the write lock, so it is asked first: opening must not wait for another process's writes.
        if connection.execute("PRAGMA auto_vacuum").fetchone()[0] != _INCREMENTAL:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        self._enable_wal(connection)
        connection.execute(f"PRAGMA synchronous = {'FULL' if self.full else 'NORMAL'}")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}")
        connection.execute("PRAGMA temp_store = MEMORY")

    def _enable_wal(self, connection: sqlite3.Connection) -> None:
        """Switch to write-ahead logging. SQLite does not wait for other processes that switch as well: we do."""
        deadline = time.monotonic() + self.busy_timeout_s
        while True:
            try:
                mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            except sqlite3.OperationalError as error:
                if _primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.005)
            else:
                if mode != "wal":
                    raise BackendError(f"{self.path}: the file system does not allow write-ahead logging ({mode})")
                return

    def _roll_back(self) -> None:
        if not self._closed and self._connection.in_transaction:  # a full disk makes SQLite roll back by itself
            self._connection.execute("ROLLBACK")

    def _translated(self, error: sqlite3.DatabaseError | OSError) -> Exception:
        """What to raise instead: `BackendError`, or the error itself if it is our own mistake (a wrong statement)."""
        reason = "it is closed" if self._closed else _explain(error, self.busy_timeout_s)
        return error if reason is None else BackendError(f"{self.path}: {reason}")


def _primary_code(error: BaseException) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _explain(error: Exception, busy_timeout_s: float) -> str | None:
    """What to tell a person, or None if the error is not the backend's."""
    if isinstance(error, OSError):
        return f"cannot be opened: {error.strerror or error}"
    reasons = {
        sqlite3.SQLITE_FULL: "the disk is full: free some space; nothing was written",
        sqlite3.SQLITE_IOERR: f"the disk failed ({error})",
        sqlite3.SQLITE_CORRUPT: "the file is damaged: move it away, or restore a copy",
        sqlite3.SQLITE_NOTADB: "is not a SQLite file: move it away",
        sqlite3.SQLITE_BUSY: f"locked by another process for over {busy_timeout_s:g} s: is one stopped in a debugger?",
        sqlite3.SQLITE_LOCKED: "locked by another statement",
        sqlite3.SQLITE_READONLY: "cannot be written: check its permissions",
        sqlite3.SQLITE_PERM: "cannot be written: check its permissions",
        sqlite3.SQLITE_CANTOPEN: "cannot be opened: check that its folder exists and is writable",
        sqlite3.SQLITE_NOMEM: "out of memory",
    }
    return reasons.get(_primary_code(error))
