"""A compute target: where a service runs."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from turnout.errors import Unsupported
from turnout.interfaces.deployment import Deployment, Description
from turnout.interfaces.sandbox import Privilege
from turnout.interfaces.service import Service

__all__ = ["Target", "TargetLimits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetLimits:
    """What a target can give a service: seconds a call may take, bytes of a request body and of memory; None: no limit.
    `long_polling` is whether it may wait at a queue, `long_lived` whether its process lives on between calls, and
    `keeps_files` whether what one process writes to its disk is there for the next one and for other services. `queues` are
    those whose messages call the runner there, where it may not wait."""

    call_s: float | None = None
    request_bytes: int | None = None
    memory_bytes: int | None = None
    long_polling: bool = True
    long_lived: bool = True
    keeps_files: bool = True
    queues: frozenset[str] = frozenset()
    privileges: frozenset[Privilege] = frozenset(Privilege)


class Target(ABC):
    """Runs services: here, by `serve`, or elsewhere, where `describe` says what it takes. `limits` is what `turnout check`
    compares needs with.

    Each sentence is a promise; those of a target that serves on an address are tests in `turnout.testing.target`.
    """

    name: ClassVar[str]
    limits: ClassVar[TargetLimits]

    async def serve(self, services: Sequence[Service], *, host: str, port: int) -> None:
        """Start the services in their order, answer their routes at this address, and return when asked to stop (SIGTERM,
        SIGINT), after every service that was started has stopped, the last started first, whether or not another fails
        to. Bodies of requests and answers are streamed, not gathered. `BackendError` if the address is taken."""
        raise Unsupported(type(self).__name__, "serve")

    @classmethod
    def describe(cls, deployment: Deployment, directory: Path, tell: Callable[[str], None]) -> Description:  # noqa: ARG003
        """Say what it takes to run these services there, and make the artefacts, in `directory`, which is empty and its own.
        Needs no credentials and no cloud, and the same input gives the same bytes. `tell` is called with each step of what
        takes long. `SettingsError` names what is wrong in the target's own table; `BackendError` says what could not be made."""
        raise Unsupported(cls.__name__, "describe")
