"""A registry whose backends are watched: each of their calls is a point at which the process can die, and some break their
promises on purpose. The platform opens it as any other, so nothing of the product knows that it is tested."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from turnout.connectors import Connector
from turnout.interfaces.opening import Opening
from turnout.interfaces.queue import Lease, LeaseState
from turnout.plugins import Registry
from turnout.plugins.contracts import Kind

from tests.chaos.fate import RECORDS, poison
from tests.crash.fate import JOURNAL, QUEUE, Fate, Watched, watched_connectors, watched_sandbox

__all__ = ["BROKEN", "WatchedRegistry"]


class WatchedRegistry:
    """`broken` is a key of `BROKEN`, or empty."""

    def __init__(self, registry: Registry, fate: Fate, *, broken: str = "") -> None:
        self._registry = registry
        self._fate = fate
        self._broken = broken
        self.connectors: Mapping[str, Connector] = watched_connectors({**registry.connectors, "chaos": poison()}, fate)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._registry, name)

    def find(self, kind: Kind, name: str) -> Any:
        found = self._registry.find(kind, name)
        part = "queue" if kind is Kind.QUEUES else name.partition(":")[0]
        match part:
            case "queue":
                return _Backend(found, part, (*QUEUE, "take_many", "wake"), self._fate, self._broken)
            case "journal":
                return _Backend(found, part, JOURNAL, self._fate, self._broken)
            case "records":
                return _Backend(found, part, RECORDS, self._fate, self._broken)
            case _ if kind is Kind.SANDBOXES:
                return _Sandboxes(found, self._fate)
            case _:
                return found


@dataclasses.dataclass(frozen=True)
class _Backend:
    """Stands for a backend's class."""

    backend: Any
    part: str
    methods: tuple[str, ...]
    fate: Fate
    broken: str

    @property
    def capabilities(self) -> Any:
        return self.backend.capabilities

    async def connect(self, opening: Opening) -> Any:
        store = await self.backend.connect(opening)
        if self.broken and self.part in BROKEN[self.broken]:
            store = BROKEN[self.broken][self.part](store)
        return Watched(store, self.part, self.methods, self.fate)


@dataclasses.dataclass(frozen=True)
class _Sandboxes:
    """Stands for a sandbox's class."""

    sandbox: Any
    fate: Fate

    async def connect(self, opening: Opening) -> Any:
        return watched_sandbox(await self.sandbox.connect(opening), self.fate)


class _Broken:
    """A store whose other methods are the real ones."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class _ForgetsRows(_Broken):
    """A journal that says yes and keeps nothing that was not sent at the beginning."""

    async def append(self, execution: str, token: int, rows: Sequence[Any]) -> None:
        kept = [row for row in rows if row.kind not in ("step", "intended")]
        if kept:
            await self._store.append(execution, token, kept)


class _LosesMessages(_Broken):
    """A queue that takes each message, forgets every fifth, and says that none is missing."""

    _puts = 0

    async def put(self, message: Any, **options: Any) -> bool:
        self._puts += 1
        return True if self._puts % 5 == 0 else bool(await self._store.put(message, **options))

    async def missing(self, ids: Sequence[str]) -> Sequence[str]:
        return []


class _Unfenced(_Broken):
    """A journal that lets anybody write at any time."""

    async def open(self, execution: str, token: int) -> Any:
        return await self._store.rows(execution)

    async def append(self, execution: str, token: int, rows: Sequence[Any]) -> None:
        for row in rows:
            await self._store.signal(execution, row)

    async def barrier(self, execution: str, token: int) -> None:
        """Everything is there already, whoever wrote it."""

    async def fence(self, execution: str, token: int) -> None:
        """Nobody is kept out."""


class _SaysHeld(_Broken):
    """A queue that tells whoever lost a lease that it is held."""

    async def extend(self, leases: Sequence[Lease]) -> Sequence[LeaseState]:
        await self._store.extend(leases)
        return [LeaseState.HELD for _ in leases]


class _KeepsMessages(_Broken):
    """A queue that never lets go of what is complete."""

    async def complete(self, lease: Lease) -> bool:
        return True


BROKEN: Mapping[str, Mapping[str, Callable[[Any], Any]]] = {
    "forgets rows": {"journal": _ForgetsRows},
    "loses messages": {"queue": _LosesMessages},
    "unfenced": {"journal": _Unfenced, "queue": _SaysHeld},
    "keeps messages": {"queue": _KeepsMessages},
}
