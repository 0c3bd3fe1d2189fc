"""Reading the event stream for one consumer, a step at a time: whatever drives consumers calls `Reading.advance`.

Everything that has to outlive a call is in the catalog (`services.consumers`). One process reads for a consumer at a time,
under a lease; if two do all the same, events come twice and none is lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from turnout.codec import decode_event
from turnout.interfaces.clock import Clock
from turnout.interfaces.journal import Journal, JournalEntry
from turnout.interfaces.service import Consumer, Delivery, Invocation
from turnout.model.events import Accepted, StepEnded
from turnout.model.execution import ExecutionInfo
from turnout.services.consumers import Consumers, ConsumerState, Failed
from turnout.services.documents import Document

__all__ = ["Came", "EventSource", "Reading"]

_PAGE: Final = 1000
_PAGES: Final = 4
_INFOS: Final = 20_000
_MOST_FAILED: Final = 1000
"""Failed deliveries that are remembered; with more, the consumer does not go on until some have succeeded."""
_BACKOFF_S: Final = (1.0, 5.0, 30.0, 120.0, 300.0)
_HANDLE_S: Final = 60.0
_LEASE_S: Final = 3 * _HANDLE_S
_log = logging.getLogger("turnout.consumers")


class Came(Enum):
    """What a step came to: something was read and there may be more; nothing is new; another process reads."""

    ON = "on"
    IDLE = "idle"
    ELSEWHERE = "elsewhere"


class EventSource:
    """The journal as consumers of one process read it: those that are equally far read a stretch once."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._pages: OrderedDict[int, Sequence[JournalEntry]] = OrderedDict()
        self._infos: OrderedDict[str, ExecutionInfo] = OrderedDict()
        self._one = asyncio.Lock()

    async def page(self, after: int) -> Sequence[JournalEntry]:
        """Some of what comes after a position; empty if nothing does."""
        async with self._one:
            if after not in self._pages:
                entries = await self._journal.entries(after=after, limit=_PAGE)
                if not entries:
                    return entries
                self._pages[after] = entries
                if len(self._pages) > _PAGES:
                    self._pages.popitem(last=False)
            return self._pages[after]

    async def delivery(self, entry: JournalEntry) -> Delivery | None:
        """The event with what its execution is; None if the execution has been forgotten, or if this was told before: what a
        person puts back is written again, under positions of its own."""
        event = decode_event(entry.row.kind, entry.row.body)
        if isinstance(event, Accepted):
            self._remember(entry.execution, event.info)
        if isinstance(event, Accepted | StepEnded) and event.again:
            return None
        info = self._infos.get(entry.execution) or await self._look_up(entry.execution)
        return None if info is None else Delivery(id=str(entry.position), info=info, event=event)

    async def at(self, position: int) -> JournalEntry | None:
        """The entry of that position, if it has not been forgotten."""
        found = await self._journal.entries(after=position - 1, limit=1)
        return found[0] if found and found[0].position == position else None

    async def _look_up(self, execution: str) -> ExecutionInfo | None:
        for row in await self._journal.rows(execution):
            event = decode_event(row.kind, row.body)
            if isinstance(event, Accepted):
                self._remember(execution, event.info)
                return event.info
        return None

    def _remember(self, execution: str, info: ExecutionInfo) -> None:
        self._infos[execution] = info
        if len(self._infos) > _INFOS:
            self._infos.popitem(last=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Reads for `consumer` as `owner`. `is_alive` says of another owner whether it may still be at work. `handle_s` is how long
    the handler may take for a call."""

    consumer: Consumer
    source: EventSource
    consumers: Consumers
    clock: Clock
    owner: str
    is_alive: Callable[[str], bool] = lambda owner: True
    handle_s: float = _HANDLE_S

    async def advance(self) -> Came:
        """One call of the handler, or some of the stream passed over that it does not want. What the handler raises is raised,
        and its deliveries come again. `TimeoutError` if it takes too long."""
        document = await self.consumers.get(self.consumer.name)
        state, now = document.value, self.clock.now()
        if state.owner not in ("", self.owner) and state.until > now and self.is_alive(state.owner):
            return Came.ELSEWHERE
        again = [failed for failed in state.failed if failed.due <= now][: self.consumer.most]
        full = len(state.failed) + self.consumer.most > _MOST_FAILED
        page: Sequence[JournalEntry] = () if again or full else await self.source.page(state.position)
        if not again and not page and state.told == state.dropped:
            return Came.IDLE
        leased = await self._lease(document)
        if leased is None:
            return Came.ELSEWHERE
        if again:
            await self._redeliver(leased, again)
        else:
            await self._deliver(leased, page)
        return Came.ON

    async def release(self) -> None:
        """Let others read at once."""
        document = await self.consumers.get(self.consumer.name)
        if document.value.owner == self.owner:
            await self.consumers.replace(document, replace(document.value, owner="", until=0.0))

    async def _lease(self, document: Document[ConsumerState]) -> Document[ConsumerState] | None:
        now, state = self.clock.now(), document.value
        if state.owner == self.owner and state.until - now > self.handle_s:
            return document
        return await self.consumers.replace(document, replace(state, owner=self.owner, until=now + _LEASE_S))

    async def _deliver(self, document: Document[ConsumerState], page: Sequence[JournalEntry]) -> None:
        """The next of the stream, as much as one call takes."""
        deliveries: list[Delivery] = []
        executions: dict[str, str] = {}
        position = document.value.position
        for entry in page:
            wanted = entry.row.kind in self.consumer.events
            # What an execution is, is told by its first event: later ones need not look for it.
            if wanted or entry.row.kind == "accepted":
                delivery = await self.source.delivery(entry)
                if wanted and delivery is not None:
                    deliveries.append(delivery)
                    executions[delivery.id] = entry.execution
            position = entry.position
            if len(deliveries) >= self.consumer.most:
                break
        failed = await self._handle(deliveries, document.value)
        now = self.clock.now()
        new = tuple(
            Failed(
                position=int(delivery.id),
                execution=executions[delivery.id],
                since=now,
                attempts=1,
                due=now + _BACKOFF_S[0],
            )
            for delivery in deliveries
            if delivery.id in failed
        )
        await self._write(document, lambda state: replace(state, position=position, failed=(*state.failed, *new)))

    async def _redeliver(self, document: Document[ConsumerState], again: Sequence[Failed]) -> None:
        """What failed and is due, apart from what is new."""
        deliveries: dict[int, Delivery] = {}
        for failed in again:
            entry = await self.source.at(failed.position)
            delivery = None if entry is None else await self.source.delivery(entry)
            if delivery is not None:
                deliveries[failed.position] = delivery
        gone = {failed.execution for failed in again if failed.position not in deliveries}
        if gone:
            _log.warning(
                "consumer %s: events of %d executions that it refused were dropped: they were kept for as long as "
                "storage.unread says",
                self.consumer.name,
                len(gone),
            )
        failing: frozenset[str] | None = None
        try:
            failing = await self._handle(list(deliveries.values()), document.value)
        finally:
            # Also when it raised: these wait for longer each time, and what is new is not held up.
            now = self.clock.now()
            left = {
                failed.position: replace(
                    failed,
                    attempts=failed.attempts + 1,
                    due=now + _BACKOFF_S[min(failed.attempts, len(_BACKOFF_S) - 1)],
                )
                for failed in again
                if failed.position in deliveries and (failing is None or str(failed.position) in failing)
            }
            tried = {failed.position for failed in again}
            await self._write(
                document,
                lambda state: replace(
                    state,
                    failed=tuple(
                        left.get(failed.position, failed)
                        for failed in state.failed
                        if failed.position not in tried or failed.position in left
                    ),
                    dropped=state.dropped + len(gone),
                ),
            )

    async def _handle(self, deliveries: Sequence[Delivery], state: ConsumerState) -> frozenset[str]:
        """The ids that failed."""
        dropped = state.dropped - state.told
        if not deliveries and not dropped:
            return frozenset()
        until = self.clock.now() + self.handle_s
        call = Invocation(remaining_s=lambda: until - self.clock.now(), dropped=dropped)
        handling = asyncio.ensure_future(self._call(deliveries, call))
        limit = asyncio.ensure_future(self.clock.sleep(self.handle_s))
        try:
            await asyncio.wait((handling, limit), return_when=asyncio.FIRST_COMPLETED)
            if not handling.done():
                raise TimeoutError(f"it took longer than {self.handle_s:g} s for {len(deliveries)} events")
            return frozenset(handling.result())
        finally:
            handling.cancel()
            limit.cancel()
            await asyncio.gather(handling, limit, return_exceptions=True)

    async def _call(self, deliveries: Sequence[Delivery], call: Invocation) -> Sequence[str]:
        return await self.consumer.handle(deliveries, call)

    async def _write(self, document: Document[ConsumerState], change: Callable[[ConsumerState], ConsumerState]) -> None:
        """What was done, unless another process reads meanwhile: then it does it again."""
        told, until = document.value.dropped, self.clock.now() + _LEASE_S
        for _ in range(3):
            state = document.value
            changed = replace(change(state), told=max(told, state.told), until=max(until, state.until))
            if await self.consumers.replace(document, changed) is not None:
                return
            # The sweep may have counted what it dropped.
            document = await self.consumers.get(self.consumer.name)
            if document.value.owner != self.owner:
                _log.warning("consumer %s: another process reads as well; events come twice", self.consumer.name)
                return
