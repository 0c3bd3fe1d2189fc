"""The wire under the connectors that speak HTTP: one connection pool a worker, time-outs, failures as `StepError`.

The only module that knows aiohttp, and the owner of three rules: the pool keeps no cookies (customers share it),
link-local addresses are never connected to (clouds keep the machine's own credentials there), and no message or cause
of an error quotes a URL's query (an api key may stand in it).

Proxies are not taken from the environment. Certificates are always verified; `SSL_CERT_FILE` and `SSL_CERT_DIR` name
other authorities than certifi's.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from turnout.connectors import ActionContext, StepError, StepTimeout

__all__ = ["USER_AGENT", "content", "describe", "masked_url", "open_pool", "retry_after_s", "send", "traced", "within"]

USER_AGENT: Final = "turnout-connectors/0.1"

_CONNECT_S: Final = 15.0
_IDLE_S: Final = 120.0
_KEEP_ALIVE_S: Final = 4.0
"""Below the 5 s after which uvicorn and Node close an idle connection: a POST that meets a closing one fails."""
_CONNECTIONS: Final = 512
_GZIP: Final = zlib.MAX_WBITS | 16
_INFLATE_BYTES: Final = 256 * 1024
_BOMB_BYTES: Final = 64 * 1024 * 1024
_BOMB_RATIO: Final = 200


async def open_pool(context: ActionContext, connector: str) -> httpx.AsyncBaseTransport:
    """The worker's pool for this connector."""
    return await context.resource((connector, "pool"), _open, _close)


def traced(context: ActionContext, headers: Mapping[str, str]) -> dict[str, str]:
    """The headers, and those that make the request a part of the execution's trace, unless `traceparent` is set already.

    Its ids tell nothing and open nothing, so that they go wherever the request goes, after a redirect as well.
    """
    set_here = {name.lower() for name in headers}
    if "traceparent" in set_here:
        return dict(headers)
    return {**headers, **{name: value for name, value in context.trace_headers.items() if name not in set_here}}


async def send(pool: httpx.AsyncBaseTransport, request: httpx.Request, *, timeout_s: float | None) -> httpx.Response:
    """Send and return the answer, its body still to be read; close it. `timeout_s` bounds each wait, not their sum.

    `StepTimeout`; `StepError` of kind `connection` (retryable), `tls`, `address_refused` or `invalid_url`.
    """
    request.extensions["timeout"] = {
        "connect": _least(_CONNECT_S, timeout_s),
        "read": _least(_IDLE_S, timeout_s),
        "pool": timeout_s,
    }
    request.headers.encoding = (
        "utf-8"  # as they were written; finding it out takes longer than the rest of this function
    )
    with _failures(request):
        return await pool.handle_async_request(request)


@asynccontextmanager
async def within(timeout_s: float | None, method: str, url: httpx.URL) -> AsyncIterator[None]:
    """Bound the whole block. `StepTimeout` names the request that took too long."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        raise StepTimeout(f"{method} {masked_url(url)}: not done within {timeout_s:g} s") from None


async def content(response: httpx.Response, *, limit_bytes: int) -> AsyncIterator[bytes]:
    """The body in chunks, gzip undone in pieces of bounded size.

    `StepError` of kind `response_too_large` above `limit_bytes` as inflated, or where the body inflates beyond all reason.
    """
    inflate = _Inflate(response.headers.get("content-encoding", ""))
    received = inflated = 0
    with _failures(response.request):
        async for chunk in response.stream:  # type: ignore[union-attr]  # a transport's answer streams asynchronously
            received += len(chunk)
            for part in inflate.feed(chunk):
                inflated += len(part)
                if inflated > limit_bytes or (inflated > _BOMB_BYTES and inflated > received * _BOMB_RATIO):
                    raise StepError(
                        f"{describe(response.request)}: the answer is larger than {min(limit_bytes, inflated)} bytes"
                        + ("" if inflated > limit_bytes else f", inflated from {received}"),
                        kind="response_too_large",
                        retryable=False,
                    )
                yield part
        if rest := inflate.end():
            yield rest


def retry_after_s(headers: httpx.Headers) -> float | None:
    """What Retry-After asks for, in seconds or as an HTTP date (RFC 9110, 10.2.3); None if it says nothing sensible."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())


def masked_url(url: httpx.URL) -> str:
    """The URL as it may be shown: without query and fragment."""
    return str(url.copy_with(query=None, fragment=None))


def describe(request: httpx.Request) -> str:
    """A request in a message."""
    return f"{request.method} {masked_url(request.url)}"


async def _open() -> AiohttpTransport:
    tls = httpx.create_ssl_context()
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=_CONNECTIONS, keepalive_timeout=_KEEP_ALIVE_S, ssl=tls, socket_factory=_socket
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
    )
    return AiohttpTransport(client=session, verify=tls, trust_env=False)


async def _close(pool: AiohttpTransport) -> None:
    await pool.aclose()


class _AddressRefused(OSError):
    """The name leads to an address that connectors must not reach."""


def _socket(address: tuple[Any, ...]) -> socket.socket:
    """Make the socket for one resolved address: the last point before connecting, so a name cannot change after it."""
    family, kind, protocol, _, sockaddr = address
    host = ipaddress.ip_address(str(sockaddr[0]).partition("%")[0])
    if _link_local(host):
        raise _AddressRefused(f"{host} is a link-local address")
    return socket.socket(family=family, type=kind, proto=protocol)


def _link_local(host: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Link-local, EC2's own IPv6 one, or either inside an address that carries an IPv4 one (mapped, NAT64, 6to4)."""
    if host.is_link_local or host in _EC2_METADATA:
        return True
    if isinstance(host, ipaddress.IPv4Address):
        return False
    inner = host.ipv4_mapped or host.sixtofour
    if inner is None and host in _NAT64:
        inner = ipaddress.IPv4Address(host.packed[-4:])
    return inner is not None and inner.is_link_local


_EC2_METADATA: Final = ipaddress.ip_network("fd00:ec2::/32")
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


@contextmanager
def _failures(request: httpx.Request) -> Iterator[None]:
    """Turn what the pool raises into `StepError`. No cause is kept: aiohttp's errors quote the whole URL."""
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError, ValueError) as error:
        if isinstance(error, StepError):
            raise
        raise _failure(describe(request), error.__cause__ or error) from None


def _failure(what: str, cause: BaseException) -> StepError:
    match cause:
        case TimeoutError() | aiohttp.ServerTimeoutError():
            return StepTimeout(f"{what}: no answer in time")
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            return StepError(f"{what}: the server's certificate is not accepted", kind="tls", retryable=False)
        case aiohttp.ClientConnectorError(os_error=_AddressRefused() as refused):
            return StepError(f"{what}: {refused}, which is refused", kind="address_refused", retryable=False)
        case aiohttp.ClientConnectorDNSError():
            return StepError(f"{what}: the host's name cannot be resolved", kind="connection")
        case aiohttp.ClientConnectorError(os_error=os_error):
            reason = os_error.strerror or type(os_error).__name__
            return StepError(f"{what}: cannot connect: {reason}", kind="connection")
        case aiohttp.InvalidURL() | httpx.InvalidURL() | httpx.UnsupportedProtocol():
            return StepError(f"{what}: not a URL that can be requested", kind="invalid_url", retryable=False)
        case aiohttp.ServerDisconnectedError():
            return StepError(f"{what}: the server closed the connection without an answer", kind="connection")
        case ValueError():
            return StepError(f"{what}: the request cannot be written", kind="input", retryable=False)
        case _:
            return StepError(f"{what}: the connection broke ({type(cause).__name__})", kind="connection")


class _Inflate:
    """Undoes gzip, giving at most `_INFLATE_BYTES` at a time, whatever a chunk expands to."""

    def __init__(self, coding: str) -> None:
        coding = coding.strip().lower()
        if coding not in {"", "identity", "gzip", "x-gzip"}:
            raise StepError(
                f"the answer has the content coding {coding!r}, which was not asked for",
                kind="content_coding",
                retryable=False,
            )
        self._inflater = zlib.decompressobj(wbits=_GZIP) if "gzip" in coding else None

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        if self._inflater is None:
            yield chunk
            return
        while chunk:
            try:
                part = self._inflater.decompress(chunk, _INFLATE_BYTES)
            except zlib.error as error:
                raise StepError(f"the compressed answer is damaged: {error}", kind="content_coding") from error
            if part:
                yield part
            chunk = self._inflater.unconsumed_tail
            if self._inflater.eof and self._inflater.unused_data:
                chunk = self._inflater.unused_data
                self._inflater = zlib.decompressobj(wbits=_GZIP)

    def end(self) -> bytes:
        """What is left. `StepError` if the compressed text stops short."""
        if self._inflater is None:
            return b""
        rest = self._inflater.flush()
        if not self._inflater.eof:
            raise StepError("the compressed answer stops short", kind="content_coding")
        return rest


def _least(bound: float, timeout_s: float | None) -> float:
    return bound if timeout_s is None else min(bound, timeout_s)
