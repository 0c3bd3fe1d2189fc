"""Connections to servers: to exactly the address that was checked, by TLS that was verified."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import Final

import certifi
import h11

from turnout_ecs.egress.addresses import Address, literal
from turnout_ecs.egress.errors import Refused
from turnout_ecs.egress.limits import EgressLimits
from turnout_ecs.egress.policy import Policy

__all__ = ["Connection", "Resolve", "Target", "Upstream", "resolve_by_system", "verifying_context"]

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a name, in the order in which they are tried. `OSError` where there is none."""

_PIECE_BYTES: Final = 64 * 1024
_ADDRESSES: Final = 16
_LOOKUPS: Final = 64
_OWN_LOOKUPS: Final = 4
"""Names that one process may have looked up at the same time."""
_VERIFY_CODES: Final = {
    10: "CERT_HAS_EXPIRED",
    18: "DEPTH_ZERO_SELF_SIGNED_CERT",
    19: "SELF_SIGNED_CERT_IN_CHAIN",
    20: "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
    21: "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
    62: "ERR_TLS_CERT_ALTNAME_INVALID",
    64: "ERR_TLS_CERT_ALTNAME_INVALID",
}
"""OpenSSL's, by the names under which Node knows them."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a stream of the process leads. `host` as `policy.host_name` gives it."""

    host: str
    port: int
    tls: bool

    @property
    def authority(self) -> str:
        """As in a Host header: without the port where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


@cache
def verifying_context(extra_ca: str = "") -> ssl.SSLContext:
    """Of the system's certificate authorities, certifi's on a system that has none, and those of the PEM file `extra_ca`.
    Made once: that takes its time."""
    paths = ssl.get_default_verify_paths()
    context = ssl.create_default_context(cafile=None if paths.cafile or paths.capath else certifi.where())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if extra_ca:
        context.load_verify_locations(extra_ca)
    return context


@cache
def _lookups() -> ThreadPoolExecutor:
    """Threads for nothing else: a name server that does not answer holds one for longer than anybody waits for it."""
    return ThreadPoolExecutor(_LOOKUPS, "turnout-lookups")


async def resolve_by_system(host: str, port: int) -> Sequence[str]:
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_lookups(), look_up)
    return [str(address[0]) for *_, address in found]


class Connection:
    """One connection to a server and what HTTP has to say about its state."""

    __slots__ = ("_writer", "http", "idle_since", "reader", "reused", "target")

    def __init__(
        self, target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, header_bytes: int
    ) -> None:
        self.target = target
        self.http = h11.Connection(h11.CLIENT, max_incomplete_event_size=header_bytes)
        self.reader = reader
        self._writer = writer
        self.reused = False
        self.idle_since = 0.0

    async def send(self, event: h11.Event) -> None:
        """`OSError` where the server is gone."""
        data = self.http.send(event)
        if data:
            self._writer.write(data)
            await self._writer.drain()

    async def receive(self) -> bytes:
        """Empty at the end. `OSError`."""
        return await self.reader.read(_PIECE_BYTES)

    @property
    def sound(self) -> bool:
        """Whether another request may go over it: the last one is done with, and the server has said nothing since."""
        return self.http.our_state is h11.IDLE and not self.reader.at_eof() and not self._writer.is_closing()

    def next_cycle(self) -> bool:
        """Make it ready for another request, if it can be."""
        if self.http.our_state is not h11.DONE or self.http.their_state is not h11.DONE:
            return False
        if self.http.trailing_data[0]:
            return False
        self.http.start_next_cycle()
        return True

    def close(self) -> None:
        self._writer.transport.abort()


class Upstream:
    """The connections of one process. Each new one resolves and checks again; an idle one serves the same target alone."""

    def __init__(self, limits: EgressLimits, tls: ssl.SSLContext, resolve: Resolve) -> None:
        self._limits = limits
        self._tls = tls
        self._resolve = resolve
        self._idle: dict[Target, list[Connection]] = {}
        self.slots = asyncio.Semaphore(limits.connections)
        self._looking_up = asyncio.Semaphore(_OWN_LOOKUPS)

    async def connect(self, target: Target, policy: Policy, *, fresh: bool = False) -> Connection:
        """A connection for one request. `Refused` says why there is none."""
        if not fresh and (idle := self._reusable(target)):
            return idle
        try:
            async with asyncio.timeout(self._limits.connect_s):
                return await self._connect(target, await self._addresses(target, policy))
        except TimeoutError:
            message = f"no connection to {target.authority} within {self._limits.connect_s:g} s"
            raise Refused("ETIMEDOUT", message) from None

    def keep(self, connection: Connection) -> None:
        """Give a connection back after its request: kept for a moment if it can be, closed otherwise."""
        if not connection.next_cycle():
            connection.close()
            return
        connection.reused = True
        connection.idle_since = time.monotonic()
        kept = self._idle.setdefault(connection.target, [])
        kept.append(connection)
        if sum(map(len, self._idle.values())) > self._limits.connections:
            kept.pop(0).close()
        asyncio.get_running_loop().call_later(self._limits.keep_idle_s, self._expire, connection)

    def drop_idle(self) -> None:
        """Close what waits: it was checked by another list of hosts."""
        for kept in self._idle.values():
            for connection in kept:
                connection.close()
        self._idle.clear()

    def _expire(self, connection: Connection) -> None:
        kept = self._idle.get(connection.target, [])
        if connection in kept and time.monotonic() - connection.idle_since >= self._limits.keep_idle_s * 0.99:
            kept.remove(connection)
            connection.close()
            if not kept:
                del self._idle[connection.target]

    def _reusable(self, target: Target) -> Connection | None:
        kept = self._idle.get(target, [])
        while kept:
            connection = kept.pop()
            if connection.sound:
                return connection
            connection.close()
        self._idle.pop(target, None)
        return None

    async def _addresses(self, target: Target, policy: Policy) -> Sequence[Address]:
        """Where it leads, resolved once, every answer checked."""
        address = literal(target.host)
        if address is not None:
            policy.check_address(target.host, target.port, address)
            return [address]
        try:
            async with self._looking_up:
                answers = await self._resolve(target.host, target.port)
        except (OSError, UnicodeError) as error:
            raise Refused("ENOTFOUND", f"{target.host} has no address") from error
        found: list[Address] = []
        for answer in answers:
            try:
                address = ipaddress.ip_address(answer)
            except ValueError:
                raise Refused("EACCES", f"{target.host} has an address that is none: {answer!r}") from None
            policy.check_address(target.host, target.port, address)
            if address not in found:
                found.append(address)
        if not found:
            raise Refused("ENOTFOUND", f"{target.host} has no address")
        return found[:_ADDRESSES]

    async def _connect(self, target: Target, addresses: Sequence[Address]) -> Connection:
        last: OSError | None = None
        for address in addresses:
            try:
                reader, writer = await self._open(target, address)
            except ssl.SSLError as error:
                raise _tls_refused(target, error) from error
            except OSError as error:
                last = error
                continue
            return Connection(target, reader, writer, self._limits.header_bytes)
        raise Refused(_code(last), f"no connection to {target.authority}: {_said(last)}") from last

    async def _open(self, target: Target, address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        end = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(end, (str(address), target.port))
            return await asyncio.open_connection(
                sock=end,
                limit=_PIECE_BYTES,
                ssl=self._tls if target.tls else None,
                server_hostname=target.host if target.tls else None,
            )
        except BaseException:
            end.close()
            raise


def _code(error: OSError | None) -> str:
    match error:
        case ConnectionRefusedError():
            return "ECONNREFUSED"
        case TimeoutError():
            return "ETIMEDOUT"
        case ConnectionResetError():
            return "ECONNRESET"
        case _:
            return "EHOSTUNREACH"


def _said(error: OSError | None) -> str:
    """Without the address: that may be a private one."""
    return (error.strerror if error else None) or "it could not be made"


def _tls_refused(target: Target, error: ssl.SSLError) -> Refused:
    if isinstance(error, ssl.SSLCertVerificationError):
        code = _VERIFY_CODES.get(error.verify_code, "UNABLE_TO_VERIFY_LEAF_SIGNATURE")
        return Refused(code, f"the certificate of {target.authority} is not valid: {error.verify_message}")
    return Refused("EPROTO", f"no TLS with {target.authority}: {error.reason or 'the handshake failed'}")
