"""The journal's sweep: executions that have ended are forgotten once their records are written and every consumer of the
event stream has read them.

A consumer that is down holds rows, within bounds: beyond them they are dropped, counted, and the consumer is told.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from turnout.codec import decode_event
from turnout.config import UnreadSettings
from turnout.engine.history import History
from turnout.interfaces.clock import Clock
from turnout.interfaces.journal import Journal, JournalEntry
from turnout.interfaces.records import RecordStore
from turnout.model.events import Ended
from turnout.model.execution import parent_id
from turnout.services.consumers import Consumers, ConsumerState
from turnout.services.roots import below

__all__ = ["Readers", "Sweep"]

_PAGE: Final = 2000
_REMEMBERED: Final = 20_000
"""Ends that are remembered while they wait to be forgotten; what is beyond is read again from the journal."""
_KINDS: Final = frozenset({"ended", "signalled", "cancel"})
"""A callback, or the wish to cancel, may come after the end."""
_log = logging.getLogger("turnout.journal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Readers:
    """The consumers that are configured, whose positions `consumers` has, and how long rows are kept for them. `names` is asked
    each time: a service that is no longer configured holds nothing."""

    consumers: Consumers
    names: Callable[[], Awaitable[Sequence[str]]]
    unread: UnreadSettings


@dataclass(frozen=True, slots=True)
class _End:
    """A row after which an execution may be over: its end, or something that came from `outside`."""

    position: int
    execution: str
    at: float
    outside: bool


class Sweep:
    """Forgets in the order of the stream. Everything that it remembers can be read from the journal again, so that a process
    that dies loses nothing and any other goes on; that two do the same is harmless."""

    def __init__(self, journal: Journal, records: RecordStore, clock: Clock, readers: Readers | None = None) -> None:
        self._journal = journal
        self._records = records
        self._clock = clock
        self._readers = readers
        self._read = 0
        self._waiting: deque[_End] = deque()
        self._first = True
        self._over: dict[str, bool] = {}

    def note(self, after: int, entries: Sequence[JournalEntry]) -> None:
        """What somebody else has read above `after`, so that it need not be read again."""
        if not entries or not after <= self._read < entries[-1].position or len(self._waiting) >= _REMEMBERED:
            return
        for entry in entries:
            if entry.position <= self._read or entry.row.kind not in _KINDS:
                continue
            # A sub-execution goes with its root. Only of what a process died at, it may be left alone.
            if entry.row.kind == "ended" and parent_id(entry.execution) and not self._first:
                continue
            if (end := _end(entry)) is not None:
                self._waiting.append(end)
        self._read = entries[-1].position

    async def run(self, recorded: int) -> None:
        """Forget what has been recorded, up to the position `recorded`, and read, or waited for too long."""
        states = await self._states() if self._waiting or self._read < recorded else {}
        dropped = dict.fromkeys(states, 0)
        watched = await self._watched() if self._waiting or self._read < recorded else None
        while True:
            while self._waiting and self._waiting[0].position <= recorded:
                if watched is not None and self._waiting[0].position > watched:
                    break
                if not self._may_go(self._waiting[0], recorded, states):
                    break
                await self._forget(self._waiting[0], states, dropped)
                self._waiting.popleft()
            if (self._waiting and len(self._waiting) >= _REMEMBERED) or self._read >= recorded:
                break
            entries = await self._journal.entries(after=self._read, limit=_PAGE)
            if not entries:
                break
            self.note(self._read, entries)
        self._first = False
        self._over.clear()
        await self._tell(dropped)

    async def _states(self) -> Mapping[str, ConsumerState]:
        if self._readers is None:
            return {}
        return await self._readers.consumers.states(await self._readers.names())

    async def _watched(self) -> int | None:
        return None if self._readers is None else await self._readers.consumers.watching(self._clock.now())

    def _may_go(self, end: _End, recorded: int, states: Mapping[str, ConsumerState]) -> bool:
        if self._readers is None or all(end.position <= state.hold for state in states.values()):
            return True
        unread = self._readers.unread
        if end.position <= recorded - unread.rows:
            return True
        return end.at < self._clock.now() - unread.kept_s

    async def _forget(self, end: _End, states: Mapping[str, ConsumerState], dropped: dict[str, int]) -> None:
        """A sub-execution's rows stay until its root's go: until its caller has written what came of it, it would begin again
        without them. With `through`: what a person has resumed since goes on."""
        id = end.execution
        if end.outside and not await self._is_over(id):
            return
        if parent_id(id):
            gone = [id] if await self._is_unneeded(id) else []
        else:
            gone = [*(record.info.id for record in await below(self._records, id)), id]
        if not gone:
            return
        late = [name for name, state in states.items() if state.position < end.position]
        was_there = bool(late and await self._journal.rows(id))
        await self._journal.forget(gone, through=end.position)
        if was_there and not await self._journal.rows(id):
            for name in late:
                dropped[name] += len(gone)

    async def _tell(self, dropped: Mapping[str, int]) -> None:
        for name, executions in dropped.items():
            if executions and self._readers is not None:
                await self._readers.consumers.count_dropped(name, executions)
                _log.warning(
                    "consumer %s has not read for too long: the events of %d executions were dropped unread "
                    "(storage.unread says how long they are kept)",
                    name,
                    executions,
                )

    async def _is_unneeded(self, execution: str) -> bool:
        """Whether it is over and its root is over as well, or gone: then nobody goes on with either."""
        root = execution
        while parent_id(root):
            root = parent_id(root)
        if not await self._is_over(execution):
            return False
        if root not in self._over:
            self._over[root] = not await self._journal.rows(root) or await self._is_over(root)
        return self._over[root]

    async def _is_over(self, execution: str) -> bool:
        ended = History.of(await self._journal.rows(execution)).ended
        return ended is not None and ended.status.final


def _end(entry: JournalEntry) -> _End | None:
    event = decode_event(entry.row.kind, entry.row.body)
    if isinstance(event, Ended) and not event.status.final:
        return None
    return _End(entry.position, entry.execution, event.at, not isinstance(event, Ended))
