"""The alerts service on a catalog in memory, with channels that remember: what its tests work with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from turnout.config import AlertRule
from turnout.errors import NotFound
from turnout.interfaces.catalog import CatalogStore
from turnout.interfaces.notifier import Notification, Notifier
from turnout.interfaces.opening import Opening
from turnout.interfaces.queue import Message
from turnout.interfaces.service import Delivery, Invocation
from turnout.local.memory_catalog import MemoryCatalog
from turnout.local.memory_queue import MemoryQueue
from turnout.local.memory_records import MemoryRecords
from turnout.model.events import Ended, Event, Logged
from turnout.model.execution import ErrorInfo, ExecutionInfo, Status
from turnout.services.alerts.book import Book
from turnout.services.alerts.channels import Channels
from turnout.services.alerts.incidents import Alert
from turnout.services.alerts.outbox import Outbox
from turnout.services.alerts.service import Alerts
from turnout.services.alerts.watch import ConnectionHealth, Sources, Watch
from turnout.services.submission import Instance
from turnout.testing.clock import ManualClock
from turnout.testing.records import execution

__all__ = ["AlertYard", "Told", "ended", "failed", "info_of", "logged"]


class Told(Notifier):
    """Keeps what it is sent; raises what it is told to."""

    def __init__(self) -> None:
        self.sent: list[Notification] = []
        self.broken: Exception | None = None
        self.tries = 0

    async def send(self, notification: Notification) -> str:
        self.tries += 1
        if self.broken is not None:
            raise self.broken
        self.sent.append(notification)
        return "taken"

    async def close(self) -> None:
        """It stays what it is: the yard looks at it afterwards."""

    @property
    def phases(self) -> list[str]:
        return [str(one.phase.value) for one in self.sent]


@dataclass
class AlertYard:
    """`another()` is a second process on the same stores."""

    rules: dict[str, AlertRule]
    catalog: CatalogStore = field(default_factory=MemoryCatalog)
    clock: ManualClock = field(default_factory=ManualClock)
    records: MemoryRecords = field(default_factory=MemoryRecords)
    told: dict[str, Told] = field(default_factory=lambda: {"ops": Told()})
    instances: list[Instance] = field(default_factory=list)
    connections: list[ConnectionHealth] = field(default_factory=list)
    caught_up: int = 0

    def __post_init__(self) -> None:
        self.queue = MemoryQueue(clock=self.clock)
        self.service, self.book, self.outbox, self.channels = self.another()

    def another(self) -> tuple[Alerts, Book, Outbox, Channels]:
        told = self.told

        def find(kind: str) -> type[Notifier]:
            class Connected(Told):
                @classmethod
                async def connect(cls, opening: Opening) -> Any:
                    return told[opening.name]

            return Connected

        tables = {name: {"kind": "told"} for name in told}
        channels = Channels(tables, find, Opening(directory=Path("/nowhere"), clock=self.clock))
        outbox = Outbox(self.catalog, channels, self.rules, self.clock, project="shop")
        book = Book(self.catalog, self.rules, outbox, self.clock)
        sources = Sources(
            records=self.records,
            queue=self.queue,
            instances=self._instances,
            instance=self._instance,
            broken=self._broken,
            connection=self._connection,
            catch_up=self._catch_up,
        )
        return (
            Alerts(self.rules, book, outbox, Watch(self.rules, book, sources, self.clock), channels),
            book,
            outbox,
            channels,
        )

    @property
    def ops(self) -> Told:
        return self.told["ops"]

    async def bury(self, id: str) -> None:
        """Make a dead letter of that id."""
        await self.queue.put(Message(id=id, tenant="acme"))
        while (lease := await self.queue.take("worker", wait_s=0)) is not None:
            await self.queue.fail(lease, reason="its worker died")

    async def give(self, *deliveries: Delivery) -> None:
        assert list(await self.service.handle(deliveries, Invocation())) == []

    async def send(self) -> None:
        await self.outbox.send_due(Invocation())

    async def look(self) -> None:
        """What the timers do, and then what is to be sent."""
        await self.service.watch(Invocation())
        await self.service.look(Invocation())
        await self.send()

    async def alerts(self) -> list[Alert]:
        return [document.value async for document in self.book.every()]

    async def _instances(self) -> AsyncIterator[Instance]:
        for instance in self.instances:
            yield instance

    async def _instance(self, customer: str, name: str) -> Instance:
        for instance in self.instances:
            if (instance.tenant, instance.name) == (customer, name):
                return instance
        raise NotFound("instance", name)

    async def _broken(self) -> AsyncIterator[ConnectionHealth]:
        for one in self.connections:
            if one.broken:
                yield one

    async def _connection(self, customer: str, name: str) -> ConnectionHealth:
        for one in self.connections:
            if (one.customer, one.name) == (customer, name):
                return one
        return ConnectionHealth(customer=customer, name=name)

    async def _catch_up(self) -> None:
        self.caught_up += 1


def info_of(id: str, at: float, **more: Any) -> ExecutionInfo:
    return execution(id, at=at, **more)


def failed(message: str = "the ERP is closed") -> ErrorInfo:
    return ErrorInfo(kind="http_503", message=message, step="post")


def delivery(id: str, info: ExecutionInfo, event: Event) -> Delivery:
    return Delivery(id=id, info=info, event=event)


def ended(info: ExecutionInfo, at: float, *, error: ErrorInfo | None = None, status: Status | None = None) -> Delivery:
    status = status or (Status.SUCCEEDED if error is None else Status.FAILED)
    return Delivery(id=f"{info.id}-{at}", info=info, event=Ended(at=at, status=status, error=error))


def logged(info: ExecutionInfo, at: float, message: str, *, level: str = "error", id: str = "") -> Delivery:
    return Delivery(id=id or f"{info.id}-{at}-{message}", info=info, event=Logged(at=at, level=level, message=message))


def runs(outcomes: Sequence[bool], at: float, *, first: int = 0) -> list[Delivery]:
    """Executions of one flow that end a second after each other, True those that succeed."""
    return [
        ended(info_of(f"e{first + number}", at + number), at + number, error=None if good else failed())
        for number, good in enumerate(outcomes)
    ]
