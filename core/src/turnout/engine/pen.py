"""The pen: what one execution writes to its journal, and when.

`note` lets an event ride with the next row that is written anyway; `send` writes now without waiting for more than the
journal's own `append`; `barrier` returns once everything is durable and the execution is still ours. Observers are told
of an event only then: a step is reported complete once it is acknowledged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from turnout.codec import encode_event
from turnout.interfaces.journal import Journal, Row
from turnout.model.events import Event, Logged

__all__ = ["Pen"]

PendingEvent = Event | asyncio.Future[Event]


class Pen:
    """Writes the rows of one execution with one token. `Fenced` from any method means: stop, write nothing more."""

    def __init__(
        self,
        journal: Journal,
        execution: str,
        token: int,
        *,
        observe: Callable[[str, Event], None],
        strict: bool = False,
        log_lines: int = 10_000,
    ) -> None:
        self.execution = execution
        self.token = token
        self._journal = journal
        self._observe = observe
        self._strict = strict
        self._logs_left = log_lines
        self._pending: list[PendingEvent] = []
        self._unreported: list[Event] = []
        # Parallel arms write through one pen: what was noted first must be written first.
        self._order = asyncio.Lock()

    @property
    def idle(self) -> bool:
        return not self._pending and not self._unreported

    def note(self, event: PendingEvent) -> None:
        """Let the event ride with the next row. A future is one whose large output is being stored."""
        self._pending.append(event)

    def log(self, event: Logged) -> None:
        """Note a log line, within the execution's cap; the last line says that more was left out."""
        if self._logs_left > 1:
            self._pending.append(event)
        elif self._logs_left == 1:
            self._pending.append(
                Logged(
                    at=event.at, level="warning", path=event.path, message="the log is full: later lines are left out"
                )
            )
        self._logs_left -= 1

    async def send(self, event: PendingEvent | None = None) -> None:
        """Write everything noted so far and this event, in order, as one append."""
        if event is not None:
            self._pending.append(event)
        if self._strict:
            await self.barrier()
        else:
            await self._write()

    async def barrier(self, event: PendingEvent | None = None) -> None:
        """As `send`, and wait until all is durable and the token is still ours."""
        if event is not None:
            self._pending.append(event)
        await self._write()
        reported, self._unreported = self._unreported, []
        await self._journal.barrier(self.execution, self.token)
        for written in reported:
            self._observe(self.execution, written)

    async def end_of_step(self, event: PendingEvent) -> None:
        """A pure step's end: it rides, unless the journal is strict."""
        self._pending.append(event)
        if self._strict:
            await self.barrier()

    async def _write(self) -> None:
        async with self._order:
            if not self._pending:
                return
            pending, self._pending = self._pending, []
            events = [await item if isinstance(item, asyncio.Future) else item for item in pending]
            await self._journal.append(self.execution, self.token, [Row(*encode_event(event)) for event in events])
            self._unreported += events
