"""A journal, a catalog and a clock in memory, and a consumer that remembers: what tests of the event stream work with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from turnout.codec import encode_event
from turnout.interfaces.journal import Row
from turnout.interfaces.service import Consumer, Delivery, Invocation
from turnout.local.memory_catalog import MemoryCatalog
from turnout.local.memory_journal import MemoryJournal
from turnout.model.events import Accepted, Ended, Event, Logged
from turnout.model.execution import Status
from turnout.services.consumers import Consumers
from turnout.services.consuming import Came, EventSource, Reading
from turnout.testing.clock import ManualClock
from turnout.testing.records import execution


class Receiver:
    """Keeps every delivery; fails as it is told: `refuse` has texts of log lines whose events fail, `broken` raises."""

    def __init__(self, *kinds: str, name: str = "shipper", most: int = 500) -> None:
        self.name = name
        self.calls: list[list[Delivery]] = []
        self.dropped: list[int] = []
        self.refuse: set[str] = set()
        self.broken: Exception | None = None
        self.consumer = Consumer(name=name, events=frozenset(kinds or ("log", "ended")), handle=self._handle, most=most)

    async def _handle(self, deliveries: Sequence[Delivery], call: Invocation) -> Sequence[str]:
        if self.broken is not None:
            raise self.broken
        self.calls.append(list(deliveries))
        if call.dropped:
            self.dropped.append(call.dropped)
        return [delivery.id for delivery in deliveries if text_of(delivery) in self.refuse]

    @property
    def texts(self) -> list[str]:
        """What it got, in order, with what came twice."""
        return [text_of(delivery) for call in self.calls for delivery in call]


def text_of(delivery: Delivery) -> str:
    match delivery.event:
        case Logged():
            return f"{delivery.info.id}:{delivery.event.message}"
        case _:
            return f"{delivery.info.id}:{type(delivery.event).__name__}"


@dataclass
class StreamYard:
    clock: ManualClock = field(default_factory=ManualClock)
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    catalog: MemoryCatalog = field(default_factory=MemoryCatalog)

    @property
    def consumers(self) -> Consumers:
        return Consumers(self.catalog)

    async def begin(self, id: str, *more: Event) -> None:
        info = execution(id, at=self.clock.now())
        await self.journal.begin(id, rows(Accepted(at=info.created_at, info=info), *more))

    async def add(self, id: str, *events: Event) -> None:
        await self.journal.open(id, 1)
        await self.journal.append(id, 1, rows(*events))

    async def whole(self, id: str, *messages: str) -> None:
        """An execution from its begin to its end, with log lines."""
        await self.begin(id, *(self.line(message) for message in messages), self.end())

    def line(self, message: str) -> Logged:
        return Logged(at=self.clock.now(), level="info", message=message)

    def end(self, status: Status = Status.SUCCEEDED) -> Ended:
        return Ended(at=self.clock.now(), status=status)

    def reading(self, receiver: Receiver, owner: str = "one", **more: object) -> Reading:
        return Reading(
            consumer=receiver.consumer,
            source=EventSource(self.journal),
            consumers=self.consumers,
            clock=self.clock,
            owner=owner,
            **more,  # type: ignore[arg-type]  # what the test is about
        )


def rows(*events: Event) -> list[Row]:
    return [Row(*encode_event(event)) for event in events]


async def read_all(reading: Reading) -> None:
    while await reading.advance() is Came.ON:
        pass
