"""What PostgreSQL and its client raise, as Turnout's errors."""

from __future__ import annotations

import psycopg
from psycopg import errors
from psycopg_pool import PoolClosed, PoolTimeout
from turnout.errors import BackendError

__all__ = ["is_absent", "is_gone", "is_passing", "translated"]

_PASSING = (
    psycopg.OperationalError,  # every fault of a connection; its subclasses that will not pass are below
    psycopg.InterfaceError,  # the connection was closed while we had it
    errors.AdminShutdown,
    errors.CrashShutdown,
    errors.CannotConnectNow,
    errors.SerializationFailure,
    errors.DeadlockDetected,
    errors.LockNotAvailable,
    ConnectionError,
)
_LASTING = (
    PoolClosed,
    PoolTimeout,
    errors.DiskFull,
    errors.ConfigurationLimitExceeded,
    errors.OutOfMemory,
    errors.QueryCanceled,
    errors.InvalidAuthorizationSpecification,
    errors.InvalidPassword,
    errors.InvalidCatalogName,
)
_ADVICE = (
    (errors.DiskFull, "the server's disk is full: make room, or set [storage.retention]"),
    (errors.InsufficientPrivilege, "the user may not do that: it must own Turnout's tables"),
    (errors.ReadOnlySqlTransaction, "the server takes no writes (a standby?): name the primary"),
    (errors.QueryCanceled, "it took longer than backends.postgres.timeout allows, or somebody cancelled it"),
    (PoolTimeout, "no connection came free in time: the server is unreachable or too busy, or pool_max is too low"),
    (PoolClosed, "the store is closed"),
    (errors.UndefinedTable, "its tables are not there: turnout postgres status"),
)


def is_passing(error: BaseException) -> bool:
    """Whether the same may succeed in a moment: the connection broke, the server restarts, two got in each other's way."""
    return isinstance(error, _PASSING) and not isinstance(error, _LASTING)


def is_absent(error: BaseException) -> bool:
    """Whether a connection was refused by a server that may come yet, and not because of what was asked for."""
    told = str(error)
    return is_passing(error) and not any(word in told for word in ("authentication", "does not exist", "pg_hba", "SSL"))


def is_gone(error: BaseException) -> bool:
    """Whether a table is not there: of a partition that was, another process has dropped it meanwhile."""
    return isinstance(error, errors.UndefinedTable) or isinstance(error.__cause__, errors.UndefinedTable)


def translated(error: Exception, *, password: str = "") -> BackendError:
    """In words, never with the password."""
    told = str(error).strip().splitlines()
    first = told[0] if told else type(error).__name__
    if password:
        first = first.replace(password, "***")
    advice = next((f" ({text})" for kind, text in _ADVICE if isinstance(error, kind)), "")
    return BackendError(f"PostgreSQL: {first}{advice}")
