"""What the HTTP API works with: the operations that the command line calls too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from turnout.interfaces.clock import Clock
from turnout.interfaces.connector import Connector
from turnout.interfaces.payloads import PayloadStore
from turnout.interfaces.queue import DeadMessage, Queue
from turnout.interfaces.records import RecordStore
from turnout.model.execution import ExecutionRecord
from turnout.services.api_keys import ApiKeys
from turnout.services.connections import Connections
from turnout.services.customers import Customers
from turnout.services.instances import Deployments
from turnout.services.metadata import Metadata
from turnout.services.oauth.service import OAuth
from turnout.services.removal import Removal
from turnout.services.versions import Versions
from turnout.values import Value

__all__ = ["DeadLetter", "DeadLetters", "ExecutionChanges", "Parts"]


class ExecutionChanges(Protocol):
    """What people do with executions, as `turnout.local.operations` does it."""

    async def cancel(self, id: str, reason: str = "") -> bool: ...

    async def resume(self, id: str, *, repeat: bool = False, output: Value | None = None) -> str: ...

    async def replay(self, id: str, *, step: str = "", trigger: Value | None = None) -> str: ...


class DeadLetter(Protocol):
    """As `turnout.local.dead_letters` has it."""

    @property
    def message(self) -> DeadMessage: ...

    @property
    def record(self) -> ExecutionRecord | None: ...

    @property
    def id(self) -> str: ...

    @property
    def step(self) -> str: ...


class DeadLetters(Protocol):
    """As `turnout.local.dead_letters` has it; `letter` is one that it gave."""

    async def list(self) -> Sequence[DeadLetter]: ...

    async def get(self, id: str) -> DeadLetter: ...

    async def retry(self, letter: Any) -> None: ...

    async def drop(self, letter: Any) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything that endpoints may touch."""

    clock: Clock
    records: RecordStore
    payloads: PayloadStore
    queue: Queue
    metadata: Metadata
    executions: ExecutionChanges
    dead_letters: DeadLetters
    keys: ApiKeys
    connectors: Mapping[str, Connector]
    customers: Customers
    connections: Connections
    versions: Versions
    deployments: Deployments
    removal: Removal
    oauth: OAuth
