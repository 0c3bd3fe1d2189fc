"""Waiting for executions to end: for callers who want the answer in the same request."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from turnout.model.events import Ended, Event

__all__ = ["Endings", "Reservation"]


class Endings:
    """Sees events and tells who waits. Ends of sub-executions concern nobody here."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[asyncio.Future[Ended]]] = {}
        self._reservations: set[Reservation] = set()

    def observe(self, execution: str, event: Event) -> None:
        if not isinstance(event, Ended):
            return
        for reservation in self._reservations:
            reservation.early[execution] = event
        for future in self._waiting.pop(execution, ()):
            if not future.done():
                future.set_result(event)

    @contextmanager
    def reserving(self) -> Iterator[Reservation]:
        """While this lasts no end is missed: the id to wait for becomes known only after it was submitted."""
        reservation = Reservation(self)
        self._reservations.add(reservation)
        try:
            yield reservation
        finally:
            self._reservations.remove(reservation)

    def wait(self, execution: str) -> asyncio.Future[Ended]:
        """The end, once it is there. Cancel the future to wait no more."""
        future: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(execution, []).append(future)
        future.add_done_callback(lambda done: self._forget(execution, done))
        return future

    def close(self) -> None:
        """Cancel who waits."""
        for futures in list(self._waiting.values()):
            for future in list(futures):
                future.cancel()

    def _forget(self, execution: str, future: asyncio.Future[Ended]) -> None:
        futures = self._waiting.get(execution, [])
        if future in futures:
            futures.remove(future)
        if not futures:
            self._waiting.pop(execution, None)


class Reservation:
    """`early` are the ends seen while it lasts."""

    def __init__(self, endings: Endings) -> None:
        self.early: dict[str, Ended] = {}
        self._endings = endings

    def claim(self, execution: str) -> asyncio.Future[Ended]:
        """As `Endings.wait`; the end may have come already."""
        if execution not in self.early:
            return self._endings.wait(execution)
        future: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        future.set_result(self.early[execution])
        return future
