"""Requests that carry messages: sent once each, answers bounded, whatever goes wrong told without the address, which may be a
secret."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from turnout.errors import BackendError, Overloaded, SettingsError, Undeliverable

if TYPE_CHECKING:
    import httpx

__all__ = ["Answer", "Poster", "checked_url", "encoded", "refused"]

_TIMEOUT_S: Final = 10.0
_LARGEST_ANSWER: Final = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`text` is the beginning of the body, on one line."""

    status: int
    text: str
    retry_after_s: float | None = None


def checked_url(url: str, what: str) -> str:
    """The URL, if messages may go there: over TLS, or within this machine. `SettingsError` says `what` it is, and not the URL."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    if not host or parts.scheme not in ("https", "http") or "@" in parts.netloc or not url.isprintable() or " " in url:
        raise SettingsError(f"{what}: an https URL without a password in it is expected")
    if parts.scheme == "http" and not _is_loopback(host):
        raise SettingsError(f"{what}: messages leave over https only; http is for addresses of this machine")
    return url


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def encoded(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


class Poster:
    """Sends requests to one address. `what` is what messages call the other side."""

    def __init__(self, what: str, url: str) -> None:
        self._what = what
        self._url = url
        self._client: httpx.AsyncClient | None = None

    async def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """The answer, whatever its status; redirects are not followed. `BackendError` if none came."""
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False)
        try:
            async with self._client.stream("POST", self._url, content=body, headers=dict(headers)) as response:
                return Answer(
                    status=response.status_code,
                    text=await _beginning(response),
                    retry_after_s=_retry_after(response.headers.get("retry-after", "")),
                )
        except httpx.HTTPError as error:
            raise BackendError(f"{self._what} cannot be reached: {type(error).__name__}") from None

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None


def refused(what: str, answer: Answer, *, settings: frozenset[int], message: frozenset[int]) -> Exception:
    """The error for an answer that is none of success. `settings` are the statuses that blame what the channel is set up with,
    `message` those that blame the message."""
    told = f"{what} answered {answer.status}" + (f": {answer.text}" if answer.text else "")
    if answer.status in settings:
        return SettingsError(told)
    if answer.status in message:
        return Undeliverable(told)
    if answer.status == 429 or answer.retry_after_s is not None:
        return Overloaded(told, retry_after_s=60.0 if answer.retry_after_s is None else answer.retry_after_s)
    return BackendError(told)


async def _beginning(response: Any) -> str:
    found = b""
    async for part in response.aiter_bytes():
        found += part
        if len(found) >= _LARGEST_ANSWER:
            break
    text = " ".join(found[:300].decode("utf-8", "replace").split())
    return "".join(one for one in text if one.isprintable())


def _retry_after(written: str) -> float | None:
    """Seconds, or the time until a date (RFC 9110, 10.2.3)."""
    if written.isascii() and written.isdigit():
        return min(float(written[:9]), 86400.0)
    with suppress(ValueError, TypeError):
        from turnout.interfaces.clock import SystemClock

        return max(0.0, parsedate_to_datetime(written).timestamp() - SystemClock().now())
    return None
