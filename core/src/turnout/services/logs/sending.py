"""Lines to an HTTP intake: gathered into requests within its limits, compressed, and what its answers mean.

Nothing here waits and tries again: whoever calls does, so that neither a process nor a function sits idle.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from turnout.errors import BackendError, Overloaded
from turnout.interfaces.log_sink import Shipped

if TYPE_CHECKING:
    import httpx

__all__ = ["Answer", "HttpIntake", "Line"]

_TIMEOUT_S: Final = 20.0
_LATER: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_TOO_MUCH: Final = frozenset({400, 413, 422})
"""The request is at fault: each half of it may be taken."""
_LONGEST_WAIT_S: Final = 300.0
_REASON: Final = 200


@dataclass(frozen=True, slots=True)
class Line:
    """An entry as it is sent."""

    id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What an intake that took a request says of it: how many entries of it it refused, and why."""

    refused: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpIntake:
    """Where lines go. `frame` makes a request's body of them, `read` an answer of a body of its answer. A request has at most
    `most` lines and `most_bytes` before it is compressed, what `frame` adds left out (`overhead` for each line)."""

    name: str
    url: str
    headers: Mapping[str, str]
    client: httpx.AsyncClient
    frame: Callable[[Sequence[bytes]], bytes]
    most: int
    most_bytes: int
    overhead: int = 2
    read: Callable[[bytes], Answer] = lambda body: Answer()

    @staticmethod
    def connect() -> httpx.AsyncClient:
        """A client that is kept as long as the sink."""
        import httpx

        return httpx.AsyncClient(timeout=_TIMEOUT_S)

    async def send(self, lines: Sequence[Line]) -> Shipped:
        """As `LogSink.write`."""
        shipped = Shipped()
        sent = 0
        for part in self._parts(lines):
            try:
                shipped = _both(shipped, await self._post(part))
            except BackendError:
                if not sent:
                    raise
                return replace(shipped, failed=(*shipped.failed, *(line.id for line in lines[sent:])))
            sent += len(part)
        return shipped

    def _parts(self, lines: Sequence[Line]) -> Iterator[Sequence[Line]]:
        start = size = 0
        for number, line in enumerate(lines):
            if number > start and (
                number - start >= self.most or size + len(line.body) + self.overhead > self.most_bytes
            ):
                yield lines[start:number]
                start, size = number, 0
            size += len(line.body) + self.overhead
        if lines:
            yield lines[start:]

    async def _post(self, lines: Sequence[Line]) -> Shipped:
        status, headers, body = await self._request(self.frame([line.body for line in lines]))
        if 200 <= status < 300:
            answer = self.read(body)
            return Shipped(refused=answer.refused, reason=answer.reason)
        if status in _TOO_MUCH:
            if len(lines) == 1:
                return Shipped(refused=1, reason=f"{self.name} answers {status}")
            middle = len(lines) // 2
            one = await self._post(lines[:middle])
            try:
                return _both(one, await self._post(lines[middle:]))
            except BackendError:
                return replace(one, failed=(*one.failed, *(line.id for line in lines[middle:])))
        if status in _LATER:
            raise Overloaded(f"{self.name} answers {status}", retry_after_s=_wait(headers.get("retry-after", "")))
        hint = ": is its key right?" if status in (401, 403) else ""
        raise BackendError(f"{self.name} answers {status}{hint}")

    async def _request(self, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        import httpx

        headers = {"content-type": "application/json", "content-encoding": "gzip", **self.headers}
        try:
            answer = await self.client.post(self.url, content=gzip.compress(body, 6), headers=headers)
        except httpx.HTTPError as error:
            # What it says may hold the URL, which may hold a token.
            raise BackendError(f"{self.name} cannot be reached: {type(error).__name__}") from None
        return answer.status_code, answer.headers, answer.content


def _both(one: Shipped, other: Shipped) -> Shipped:
    return Shipped(
        failed=(*one.failed, *other.failed),
        refused=one.refused + other.refused,
        reason=(one.reason or other.reason)[:_REASON],
    )


def _wait(given: str) -> float:
    """Seconds of a `Retry-After` (RFC 9110, 10.2.3): a number or a date; a second where it says nothing that can be read."""
    try:
        wait_s = float(given)
    except ValueError:
        try:
            wait_s = (parsedate_to_datetime(given) - datetime.now(UTC)).total_seconds()
        except (TypeError, ValueError):
            wait_s = 1.0
    return 1.0 if math.isnan(wait_s) else min(max(wait_s, 0.0), _LONGEST_WAIT_S)
