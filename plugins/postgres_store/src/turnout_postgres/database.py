"""The one place that talks to PostgreSQL: connections, transactions, outages, what is checked at start.

A `Database` is a pool of connections to one database and one schema of it. What it is asked to do is done again on another
connection when one breaks, until its time limit: so whatever is run must be the same when it is done twice. Names of
tables are always written with their schema, and nothing relies on a session's state, so that a connection is as good as any
other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Self, TypeVar

import psycopg
from psycopg import AsyncConnection, AsyncRawCursor
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.array import ListBinaryDumper
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from turnout.errors import BackendError, SettingsError
from turnout.interfaces.opening import Opening
from turnout.model.durability import Durability

from turnout_postgres.faults import is_absent, is_passing, translated
from turnout_postgres.migrating import Migration, Migrations
from turnout_postgres.options import PostgresOptions

__all__ = ["Database", "Session"]

T = TypeVar("T")
Row = tuple[Any, ...]

_OLDEST: Final = 14
"""The oldest PostgreSQL that this is for."""

_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0
"""How long to wait before a broken connection is tried again: the first time, and at most."""

_GRACE_S: Final = 1.0

_MIGRATING_S: Final = 86_400.0
"""After so long a server that does not answer is given up in the middle of migrations, too."""

_log = logging.getLogger("turnout.postgres")
logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # it warns at each attempt of what we warn of once

_CHECKS: Final = """
    SELECT current_setting('server_version_num')::int, current_setting('server_encoding'), pg_is_in_recovery(),
        current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit')
"""


class Session:
    """A connection, to use for a while. In a statement `{s}` stands for the schema, `$1` for the first parameter, and other
    names in braces for what `naming` says."""

    def __init__(
        self, connection: AsyncConnection[Row], schema: str, settings: Mapping[str, str], names: Mapping[str, str]
    ) -> None:
        """`settings` are what connections are set to."""
        self.schema = schema
        self._connection = connection
        self._settings = settings
        self._names = names
        self._cursor = connection.cursor(binary=True)

    def naming(self, **names: str) -> Session:
        """The same connection with further names, which may use `{s}`. They are ours: they are not escaped."""
        return Session(self._connection, self.schema, self._settings, {**names, **self._names})

    async def rows(self, statement: str, *parameters: Any, prepare: bool | None = None) -> list[Row]:
        """The rows that a statement answers. `prepare=False` plans it for these very parameters."""
        await self._cursor.execute(self._said(statement), parameters, prepare=prepare)
        return await self._cursor.fetchall()

    async def one(self, statement: str, *parameters: Any, prepare: bool | None = None) -> Row | None:
        """The first row, or None."""
        await self._cursor.execute(self._said(statement), parameters, prepare=prepare)
        return await self._cursor.fetchone()

    async def holds(self, statement: str, *parameters: Any) -> bool:
        """Whether a statement answers any row."""
        return await self.one(f"SELECT 1 WHERE EXISTS ({statement})", *parameters) is not None

    async def change(self, statement: str, *parameters: Any, prepare: bool | None = None) -> int:
        """Run a statement; how many rows it changed."""
        await self._cursor.execute(self._said(statement), parameters, prepare=prepare)
        return self._cursor.rowcount

    async def restore(self) -> None:
        """Undo what was set for the session."""
        for name, value in self._settings.items():
            await self._connection.execute("SELECT set_config($1, $2, false)", (name, value))

    async def script(self, text: str) -> None:
        """Run several statements without parameters."""
        await self._connection.execute(self._said(text))

    @contextlib.asynccontextmanager
    async def transaction(self, *, reading: bool = False) -> AsyncIterator[None]:
        """Commit at the end of the block, roll back if it raises. `reading`: every statement sees the same moment."""
        async with self._connection.transaction():
            if reading:
                await self._connection.execute(b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield

    def _said(self, statement: str) -> bytes:
        for name, text in self._names.items():
            statement = statement.replace(f"{{{name}}}", text)
        return statement.encode()


class Database:
    """Opened by `open`, which checks what it finds; closed by `aclose`."""

    def __init__(self, url: str, options: PostgresOptions) -> None:
        """`SettingsError` if `url` is none; nothing is connected to yet."""
        self.schema = options.namespace
        self.timeout_s = options.timeout
        self.durability = Durability.PROCESS
        self._options = options
        self._conninfo, self._password = _connection_info(url, options.timeout)
        self._pool = AsyncConnectionPool(
            self._conninfo,
            kwargs={"autocommit": True, "cursor_factory": AsyncRawCursor},
            configure=self._configure,
            min_size=options.pool_min,
            max_size=options.pool_max,
            timeout=options.timeout,
            open=False,
            name="turnout",
        )
        # A worker that hangs, or whose network is cut, must not keep others waiting for what it has locked.
        bound_ms = str(max(1000, int(options.timeout * 1000)))
        self._settings = {
            "statement_timeout": bound_ms,
            "idle_in_transaction_session_timeout": bound_ms,
            "lock_timeout": "0",
        }
        self._described = "PostgreSQL"
        self._opening = asyncio.Lock()
        self._drained_at = -math.inf
        self._checked = False
        self._closed = False

    @classmethod
    async def of(cls, opening: Opening) -> Self:
        """The project's database: one for all stores that are opened with the same `opening.shared`, checked."""
        options = opening.read(PostgresOptions)
        url = (await opening.secret(options.url)).reveal()
        database = opening.shared.get(f"postgres:{opening.name}", lambda: cls(url, options))
        await database.open()
        return database

    async def open(self, *, check_tables: bool = True) -> None:
        """Connect, and check the server and the version of the tables. `BackendError` says what is not as it must be."""
        async with self._opening:
            if self._checked:
                return
            try:
                await self._reach()
                await self._pool.open()
                found = await self.run(lambda session: session.one(_CHECKS))
                assert found is not None
                self._check_server(*found[:3])
                self._learn(*found)
                if check_tables:
                    await self._check_tables()
            except BaseException:
                await self._pool.close()
                raise
            self._checked = True

    async def run(self, work: Callable[[Session], Awaitable[T]], *, patience_s: float | None = None) -> T:
        """Do `work` with a connection, and again with another if that breaks, for `timeout_s` at most. `BackendError` then,
        and at once for what will not pass. What `work` does must be in a transaction, or harmless when done by halves.

        A server that does not answer is given up as well, `patience_s` being for what takes longer than others may wait."""
        deadline = time.monotonic() + self.timeout_s
        pause = _PAUSE_S
        while True:
            left = max(0.001, deadline - time.monotonic())
            try:
                return await self._attempt(work, left, patience_s or left)
            except (psycopg.Error, ConnectionError) as error:
                if self._closed or not is_passing(error) or time.monotonic() + pause > deadline:
                    raise await self._told(error) from _without(error, self._password)
                if pause == _PAUSE_S:
                    told = translated(error, password=self._password)
                    _log.warning("%s; trying again for %g s", told, self.timeout_s)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def transact(
        self, work: Callable[[Session], Awaitable[T]], *, reading: bool = False, patience_s: float | None = None
    ) -> T:
        """As `run`, in one transaction, whose statements may take `patience_s` each."""

        async def transaction(session: Session) -> T:
            async with session.transaction(reading=reading):
                if patience_s is not None:
                    await session.change(
                        "SELECT set_config('statement_timeout', $1, true)", str(int(patience_s * 1000))
                    )
                return await work(session)

        return await self.run(transaction, patience_s=patience_s)

    @contextlib.asynccontextmanager
    async def alone(self, what: str) -> AsyncIterator[bool]:
        """Whether no other process is in a block of this name (one of ours: it is not escaped), until the end of this one. Takes a connection beside the
        pool's: the block uses those."""
        try:
            connection = await AsyncConnection.connect(self._conninfo, cursor_factory=AsyncRawCursor)
        except (psycopg.Error, OSError) as error:
            raise translated(error, password=self._password) from _without(error, self._password)
        try:
            # Of the transaction, which stays open: a pooler in between may give the session to others. Without parameters, so
            # that nothing is left of the statement that would keep VACUUM from what is deleted meanwhile.
            lock = f"SELECT pg_try_advisory_xact_lock(hashtext('{what}'), hashtext('{self.schema}'))"
            row = await (await connection.execute(lock.encode())).fetchone()
            yield bool(row and row[0])
        except psycopg.Error as error:
            raise translated(error, password=self._password) from _without(error, self._password)
        finally:
            await connection.close()

    async def migrations(self) -> Migrations:
        """The versions of the tables: which there are, which were applied."""
        return await self.run(Migrations.read)

    async def migrate(self, known: Sequence[Migration] | None = None) -> list[Migration]:
        """Run what is pending of the migrations that are `known`, however large the tables are; those that this ran."""

        async def apply(session: Session) -> list[Migration]:
            return await (await Migrations.read(session, known)).apply(session)

        return await self.run(apply, patience_s=_MIGRATING_S)

    def describe(self) -> str:
        """The server and what its commits survive, for people."""
        return self._described

    async def aclose(self) -> None:
        """Let go of all connections. Idempotent."""
        self._closed = True
        await self._pool.close()

    async def _reach(self) -> None:
        """Connect once, since the pool does not say why it cannot."""
        deadline = time.monotonic() + self.timeout_s
        pause = _PAUSE_S
        while True:
            try:
                connection = await AsyncConnection.connect(self._conninfo)
            except (psycopg.Error, OSError) as error:
                if not is_absent(error) or time.monotonic() + pause > deadline:
                    raise translated(error, password=self._password) from _without(error, self._password)
            else:
                await connection.close()
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _attempt(self, work: Callable[[Session], Awaitable[T]], left_s: float, patience_s: float) -> T:
        async with self._pool.connection(timeout=left_s) as connection:
            # Later than the server's own limit, which says more.
            cutting = asyncio.get_running_loop().call_later(patience_s + _GRACE_S, _cut, connection)
            try:
                return await work(self._session(connection))
            finally:
                cutting.cancel()
                if connection.closed and time.monotonic() - self._drained_at > 1:
                    self._drained_at = time.monotonic()
                    await self._pool.drain()  # the others will have broken with it

    async def _told(self, error: Exception) -> BackendError:
        """The error in words. Where the pool had no connection in time, the server is asked why."""
        if isinstance(error, PoolTimeout):
            try:
                await (await AsyncConnection.connect(self._conninfo)).close()
            except (psycopg.Error, OSError) as reason:
                return translated(reason, password=self._password)
        return translated(error, password=self._password)

    def _session(self, connection: AsyncConnection[Row]) -> Session:
        return Session(connection, self.schema, self._settings, {"s": f'"{self.schema}"'})

    async def _configure(self, connection: AsyncConnection[Row]) -> None:
        # Bytes as they are, in lists too, and not as text of twice their size.
        connection.adapters.register_dumper(list, ListBinaryDumper)
        await self._session(connection).restore()

    def _check_server(self, version: int, encoding: str, standby: bool) -> None:
        if version < _OLDEST * 10000:
            raise BackendError(f"PostgreSQL {version // 10000} is too old: {_OLDEST} or newer is needed")
        if encoding != "UTF8":
            raise BackendError(f"PostgreSQL: the database's encoding is {encoding}: make one with ENCODING 'UTF8'")
        if standby:
            raise BackendError("PostgreSQL: the server is a standby, which takes no writes: name the primary")

    def _learn(self, version: int, encoding: str, standby: bool, *settings: str) -> None:
        """What commits survive, by the server's own settings."""
        risky = _risks(*settings)
        self.durability = Durability.PROCESS if risky else Durability.HOST
        survives = f"a loss of power may cost the last commits: {risky}" if risky else "survives a loss of power"
        self._described = f"PostgreSQL {version // 10000}, schema {self.schema}: {survives}"

    async def _check_tables(self) -> None:
        found = await self.migrations()
        if self._options.migrate and found.pending:
            await self.migrate()
            found = await self.migrations()
        found.check()


def _connection_info(url: str, timeout_s: float) -> tuple[str, str]:
    """What libpq is told, and the password in it. No message shows the URL."""
    fault = (
        "is no URL of a database: postgresql://user:password@host/database (what is no letter or digit in the password is "
        "written as in any URL: %40 for @)"
    )
    try:
        given = conninfo_to_dict(url)
    except psycopg.Error:
        given = None
    if not given:
        raise SettingsError(f"backends.postgres.url: {fault}", setting="backends.postgres.url")
    usual = {
        "application_name": "turnout",
        "connect_timeout": str(max(2, int(min(timeout_s, 10)))),
        # A server that is gone without a word is noticed within the time limit.
        "keepalives_idle": "5",
        "keepalives_interval": "2",
        "keepalives_count": "3",
        "tcp_user_timeout": str(int(min(timeout_s, 15) * 1000)),
    }
    return make_conninfo("", **{**usual, **given}), str(given.get("password") or "")


def _without(error: Exception, password: str) -> Exception | None:
    """The error as a cause to show in tracebacks; none if it says the password."""
    return None if password and password in str(error) else error


def _risks(fsync: str, full_page_writes: str, synchronous_commit: str) -> str:
    """The settings because of which a loss of power loses what was committed; empty: none."""
    given = {"fsync": fsync, "full_page_writes": full_page_writes, "synchronous_commit": synchronous_commit}
    return ", ".join(f"{name} is off" for name, value in given.items() if value == "off")


def _cut(connection: AsyncConnection[Row]) -> None:
    """End a connection on which nothing comes, so that whoever waits for it hears of it. To cancel in the usual way would
    wait for the server as well."""
    with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)
