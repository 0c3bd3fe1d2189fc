"""Which workers of this machine live: each holds a lock on a file of its own, which the kernel lets go of with the process.

So a worker that was killed is known as dead at once, and its executions go on without waiting for its leases to run out. A
process id would not do: it is used again. The name of a worker is `host:pid:key`, its file `key.lock`; the key begins with
a mark of the directory, since workers of several directories may share a queue, and know nothing of each other.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import socket
from pathlib import Path

from turnout.errors import BackendError

__all__ = ["WorkerLock", "any_ended", "is_alive", "sweep"]


class WorkerLock:
    """Says that a worker lives, from its creation until `release` or the end of the process, however it ends.

    `name` is what `Queue.take` is given as worker. Not for processes made by fork without exec: a child would keep it.
    """

    def __init__(self, directory: Path) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            key = _mark(directory) + secrets.token_hex(8)
            self._path = _path(directory, key)
            self.name = f"{socket.gethostname()}:{os.getpid()}:{key}"
            self._file: int | None = self._hold()
        except OSError as error:
            raise BackendError(f"{directory}: a worker's lock cannot be made there: {error.strerror}") from error

    def release(self) -> None:
        """The worker has ended. Idempotent."""
        if self._file is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None

    def _hold(self) -> int:
        while True:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX)
            # A sweep may have removed the file between the two calls: then nobody could find this lock.
            with contextlib.suppress(FileNotFoundError):
                if self._path.stat().st_ino == os.fstat(file).st_ino:
                    return file
            os.close(file)


def is_alive(directory: Path, worker: str) -> bool:
    """False if the worker of that name is known to have ended. True for one of another machine or directory: nothing is
    known of it, and its lease runs out by itself."""
    host, _, rest = worker.partition(":")
    key = rest.rpartition(":")[2]
    if host != socket.gethostname() or not key.isalnum() or not directory.is_dir():
        return True
    if not key.startswith(_mark(directory)):
        return True
    return not _is_free(_path(directory, key), remove=True)


def any_ended(directory: Path) -> bool:
    """Whether a worker was killed since the last `sweep`. Costs a few microseconds for each worker of the directory."""
    return any(_is_free(path) for path in directory.glob("*.lock"))


def sweep(directory: Path) -> None:
    """Remove the files that workers left behind when they were killed."""
    for path in directory.glob("*.lock"):
        _is_free(path, remove=True)


def _mark(directory: Path) -> str:
    found = directory.stat()
    return hashlib.sha256(f"{found.st_dev}:{found.st_ino}".encode()).hexdigest()[:8]


def _path(directory: Path, key: str) -> Path:
    return directory / f"{key}.lock"


def _is_free(path: Path, *, remove: bool = False) -> bool:
    """Whether nobody holds its lock, or it is gone; with `remove` it is gone then."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if remove:
            path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True
