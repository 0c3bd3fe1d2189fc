"""Watching the event stream as it comes, from a process of its own: a reader for a while, for which the journal keeps rows."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Sequence
from typing import Final

from turnout.errors import BackendError
from turnout.interfaces.clock import Clock
from turnout.interfaces.journal import Journal
from turnout.interfaces.service import Delivery
from turnout.services.consumers import WATCHING, Consumers, ConsumerState
from turnout.services.consuming import EventSource

__all__ = ["Watcher"]

_LEASE_S: Final = 30.0
_POLL_S: Final = 0.25
_log = logging.getLogger("turnout.watching")


class Watcher:
    """Reads every event above a position, each once, in order. What it has not read is kept for it while it reads; a process that
    dies is not waited for longer than half a minute."""

    def __init__(self, journal: Journal, consumers: Consumers, clock: Clock, *, poll_s: float = _POLL_S) -> None:
        self._journal = journal
        self._source = EventSource(journal)
        self._consumers = consumers
        self._clock = clock
        self._poll_s = poll_s
        self._name = f"{WATCHING}{os.urandom(8).hex()}"
        self._renewed_at = 0.0

    async def start(self, position: int) -> None:
        """From now on the journal keeps what is above the position."""
        await self._keep(position)

    async def follow(self, position: int) -> AsyncIterator[Sequence[Delivery]]:
        """Without end: what is new, in batches; an empty one whenever nothing is, so that time can be shown passing."""
        while True:
            entries = await self._journal.entries(after=position, limit=1000)
            found = [await self._source.delivery(entry) for entry in entries]
            yield [delivery for delivery in found if delivery is not None]
            if entries:
                position = entries[-1].position
            if entries or self._clock.now() - self._renewed_at > _LEASE_S / 3:
                await self._keep(position)
            if len(entries) < 1000:
                await self._clock.sleep(self._poll_s)

    async def stop(self) -> None:
        try:
            await self._consumers.remove(self._name)
        except BackendError as error:
            _log.debug("the journal keeps rows for a watcher for a while: %s", error)

    async def _keep(self, position: int) -> None:
        self._renewed_at = self._clock.now()
        state = ConsumerState(position=position, until=self._renewed_at + _LEASE_S)
        await self._consumers.put(self._name, state)
