"""Group commit: many writers share one wait for the disk.

With synchronous FULL a commit waits for the disk, for milliseconds. A thread of its own commits whatever has been sent since
its last commit in one transaction, so that 64 executions that wait at once wait for one flush, and the event loop never.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from turnout.errors import BackendError, TurnoutError

if TYPE_CHECKING:
    from turnout.local.database import Database

__all__ = ["GroupCommit"]

_T = TypeVar("_T")
_Write = Callable[[sqlite3.Connection], Any]
_Done = Callable[[Any, BaseException | None], None]
_Sent = tuple[_Write, _Done, bool]

_BATCH: Final = 512
"""Writes in one transaction at most: a bound on how long the others wait for the first."""


class GroupCommit:
    """Runs writes in the order sent, in shared transactions, on a thread. Owns `database` and closes it.

    A write that raises must not have changed anything: it fails alone, its neighbours are committed. If the commit
    fails, every write of the transaction fails with that error.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sent: queue.SimpleQueue[_Sent | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._commit_all, name="turnout-commit", daemon=True)
        self._thread.start()

    async def run(self, write: Callable[[sqlite3.Connection], _T], *, durable: bool = True) -> _T:
        """Send the write and return its result once it is committed. If the caller is cancelled it is written all the
        same."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[_T] = loop.create_future()

        def settle(result: Any, error: BaseException | None) -> None:
            if outcome.done():
                return
            if error is None:
                outcome.set_result(result)
            else:
                outcome.set_exception(error)

        def done(result: Any, error: BaseException | None) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, result, error)

        self.send(write, done, durable=durable)
        return await outcome

    def send(self, write: _Write, done: _Done, *, durable: bool = True) -> None:
        """Send the write; `done` is called on the committing thread with its result or error once it is committed, and
        on the disk if it is to be `durable`. A transaction without durable writes does not wait for the disk."""
        if self._closed:
            raise BackendError(f"{self._database.path}: it is closed")
        self._sent.put((write, done, durable))

    def close(self) -> None:
        """Commit what was sent, then end the thread. Idempotent."""
        if not self._closed:
            self._closed = True
            self._sent.put(None)
        self._thread.join()

    def _commit_all(self) -> None:
        going_on = True
        while going_on:
            batch = [self._sent.get()]
            while len(batch) < _BATCH and not self._sent.empty():
                batch.append(self._sent.get())
            going_on = None not in batch
            self._commit([entry for entry in batch if entry is not None])
        self._database.close()

    def _commit(self, batch: list[_Sent]) -> None:
        outcomes: list[tuple[_Done, Any, BaseException | None]] = []
        try:
            level = "FULL" if any(durable for _, _, durable in batch) else "NORMAL"
            self._database.query(f"PRAGMA synchronous = {level}")
            with self._database.transaction() as connection:
                for write, done, _ in batch:
                    try:
                        outcomes.append((done, write(connection), None))
                    except TurnoutError as error:
                        outcomes.append((done, None, error))
        except Exception as error:  # whatever it is, those who wait must hear of it and the thread must go on
            outcomes = [(done, None, error) for _, done, _ in batch]
        for done, result, failure in outcomes:
            done(result, failure)
