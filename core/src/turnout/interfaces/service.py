"""A service: a unit of placement, written without knowing where it runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Request", "Response", "Route", "Service"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An HTTP request without a server. Header names are lower case; `query` and `path` values are decoded.

    `body` streams; read it once.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    body: AsyncIterator[bytes]
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An HTTP answer; a body that is a stream is sent in chunks."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | AsyncIterator[bytes] = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """`path` may hold parameters: `/hooks/{instance}/{flow}`."""

    method: str
    path: str
    handle: Callable[[Request], Awaitable[Response]]


class Service(ABC):
    """Handlers for HTTP routes, and work of its own between `start` and `stop`.

    Each sentence is a promise and a test in `turnout.testing.service`.
    """

    name: str

    def routes(self) -> Sequence[Route]:
        """What it answers over HTTP, the same at any time; nothing by default. No two routes have the same method and path.
        A handler answers what it does not know, or cannot read, with a status of 400 to 499 and does not raise."""
        return ()

    @abstractmethod
    async def start(self) -> None:
        """Begin. Returns once it serves; what goes on runs in tasks of its own."""

    @abstractmethod
    async def stop(self) -> None:
        """Finish what is in hand, or hand it back, and end: no task of its own goes on. Idempotent; nothing happens to a
        service that was not started."""
