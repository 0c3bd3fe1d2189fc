"""The pen: what one execution writes to its journal, and when.

`note` lets an event ride with the next row that is written anyway; `send` writes now without waiting for more than the
journal's own `append`; `barrier` returns once everything is durable and the execution is still ours. Observers are told
of an event only then: a step is reported complete once it is acknowledged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from itertools import takewhile
from typing import Final

from turnout.codec import encode_event
from turnout.interfaces.journal import Journal, Row
from turnout.model.events import Event, Intended, Logged

__all__ = ["Pen", "Urgency"]

PendingEvent = Event | asyncio.Future[Event]


class Urgency(Enum):
    """When the row of a step that ended is written.

    `RIDES`: with the next row that is written anyway, for what can be computed again. `SOON`: within milliseconds and not
    waited for, for what was read: the effect that follows takes it along in its own write. `NOW`: for effects.
    """

    RIDES = auto()
    SOON = auto()
    NOW = auto()


_SOON_S: Final = 0.002


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
        self._reported = 0
        # Parallel arms write through one pen: what was noted first must be written first.
        self._order = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None

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
        reach = self._reported + len(self._unreported)
        await self._journal.barrier(self.execution, self.token)
        # Of two barriers at once the first to return reports what both waited for.
        count = max(0, reach - self._reported)
        acknowledged, self._unreported = self._unreported[:count], self._unreported[count:]
        self._reported += count
        for written in acknowledged:
            self._observe(self.execution, written)

    async def checkpoint(self) -> None:
        """Write what was done, for whoever goes on: the execution is handed back. Not an effect that was announced and did
        not begin, or nobody could know whether it happened; and nothing after content that is not stored yet."""
        done = takewhile(lambda item: not isinstance(item, asyncio.Future) or item.done(), self._pending)
        self._pending = [item for item in done if not isinstance(item, Intended)]
        await self.barrier()

    async def end_of_step(self, event: PendingEvent, urgency: Urgency) -> None:
        """Write the end of a step as soon as what it did asks for; at once and durably where the journal is strict."""
        self._pending.append(event)
        if self._strict:
            await self.barrier()
        elif urgency is Urgency.NOW:
            await self._write()
        elif urgency is Urgency.SOON and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SOON_S, self._due)

    def _due(self) -> None:
        self._timer = None
        self._writing = asyncio.ensure_future(self._write())
        # Its error is met again by whoever writes next: what was noted stays noted until the journal has it.
        self._writing.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def close(self) -> None:
        """Write nothing more. Content that is still being stored for rows nobody will write is given up."""
        if self._timer is not None:
            self._timer.cancel()
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        storing = [item for item in self._pending if isinstance(item, asyncio.Future)]
        self._pending.clear()
        for item in storing:
            item.cancel()
        await asyncio.gather(*storing, return_exceptions=True)

    async def _write(self) -> None:
        async with self._order:
            # What was noted stays noted until the journal has it: whoever writes may be cancelled, or meet an error that
            # another step's content caused, and the rows of the other steps must not go with it.
            count = len(self._pending)
            if not count:
                return
            events = [await _settled(item) for item in self._pending[:count]]
            await self._journal.append(self.execution, self.token, [Row(*encode_event(event)) for event in events])
            del self._pending[:count]
            if self._timer is not None and not self._pending:
                self._timer.cancel()
                self._timer = None
            self._unreported += events


async def _settled(item: PendingEvent) -> Event:
    if not isinstance(item, asyncio.Future):
        return item
    if not item.done():
        await asyncio.wait([item])  # cancelling this wait does not cancel the storing, as awaiting it would
    return item.result()
