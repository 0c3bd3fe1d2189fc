"""A compute target: where a service runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from turnout.interfaces.sandbox import Privilege
from turnout.interfaces.service import Service

__all__ = ["Target", "TargetLimits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetLimits:
    """What a target can give a service: seconds a call may take, bytes of a request body and of memory; None: no limit.
    `long_polling` is whether it may wait at a queue, `long_lived` whether its process lives on between calls."""

    call_s: float | None = None
    request_bytes: int | None = None
    memory_bytes: int | None = None
    long_polling: bool = True
    long_lived: bool = True
    privileges: frozenset[Privilege] = frozenset(Privilege)


class Target(ABC):
    """Runs services. `limits` is what `turnout check` compares needs with.

    Each sentence is a promise; those of a target that serves on an address are tests in `turnout.testing.target`.
    """

    name: ClassVar[str]
    limits: ClassVar[TargetLimits]

    @abstractmethod
    async def serve(self, services: Sequence[Service], *, host: str, port: int) -> None:
        """Start the services in their order, answer their routes at this address, and return when asked to stop (SIGTERM,
        SIGINT), after every service that was started has stopped, the last started first, whether or not another fails
        to. Bodies of requests and answers are streamed, not gathered. `BackendError` if the address is taken."""
