"""One request from the code to a server, and its answer back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Final

import h11
from turnout.interfaces.sandbox import Exchange

from turnout_ecs.egress import requests
from turnout_ecs.egress.credentials import Swap
from turnout_ecs.egress.errors import Refused
from turnout_ecs.egress.limits import EgressLimits
from turnout_ecs.egress.link import Stream
from turnout_ecs.egress.policy import Policy
from turnout_ecs.egress.rewriting import Decoder, Rewriter
from turnout_ecs.egress.upstream import Connection, Target, Upstream

__all__ = ["Record", "Relay"]

_log: Final = logging.getLogger(__name__)
_GATHERED_BYTES: Final = 64 * 1024
"""An answer up to this size keeps its Content-Length though secrets are looked for in it."""
_EVENTS_AT_ONCE: Final = 32
_REPEATABLE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS"})


class Record:
    """What is known of a request; of a connection that was refused before there was one, less. `observe` is told once, when
    it ends: of an answer, before the code has its last byte."""

    def __init__(self, request: h11.Request | None, target: Target | None, observe: Callable[[Exchange], None]) -> None:
        self._began = time.monotonic()
        self._observe = observe
        self.over = False
        self._request = request
        self._target = target or Target("", 0, tls=False)
        self.status: int | None = None
        self.sent_bytes = 0
        self.received_bytes = 0

    def end(self, refusal: str = "") -> None:
        """The request is over, or refused. Idempotent: the first end counts."""
        if self.over:
            return
        self.over = True
        exchange = Exchange(
            method=self._request.method.decode("ascii", "replace")[:32] if self._request else "CONNECT",
            host=self._target.host,
            port=self._target.port,
            path=requests.path_of(self._request.target) if self._request else "",
            tls=self._target.tls,
            status=self.status,
            refusal=refusal,
            sent_bytes=self.sent_bytes,
            received_bytes=self.received_bytes,
            duration_s=time.monotonic() - self._began,
        )
        try:
            self._observe(exchange)
        except Exception:
            _log.exception("a request could not be observed")


class Relay:
    """Carries one request. `incoming` is the state of HTTP on the code's stream, which has just had `request`."""

    def __init__(
        self,
        stream: Stream,
        incoming: h11.Connection,
        request: h11.Request,
        *,
        target: Target,
        policy: Policy,
        swap: Swap,
        upstream: Upstream,
        limits: EgressLimits,
        record: Record,
    ) -> None:
        self._stream = stream
        self._incoming = incoming
        self._request = request
        self._target = target
        self._policy = policy
        self._swap = swap
        self._upstream = upstream
        self._limits = limits
        self._record = record
        self._gathered: bytes | None = None
        self._events = 0

    async def run(self) -> None:
        """To the end of the answer. `Refused` says why not; `StreamGone` where the code gave up."""
        requests.check(self._request, self._target, self._limits)
        self._policy.check(self._target.host, self._target.port)
        target = self._swap.target(self._request.target)
        length = await self._length()
        headers = requests.request_headers(self._request, self._target, self._swap, length)
        head = _checked_head(self._request.method, target, headers)
        async with self._upstream.slots:
            connection = await self._send_head(head)
            reusable = False
            try:
                reusable = await self._both_ways(connection, head)
            finally:
                if reusable:
                    self._upstream.keep(connection)
                else:
                    connection.close()

    async def _send_head(self, head: h11.Request) -> Connection:
        for fresh in (False, True):
            connection = await self._upstream.connect(self._target, self._policy, fresh=fresh)
            try:
                await connection.send(head)
            except OSError:
                connection.close()
                continue
            return connection
        raise Refused("ECONNRESET", f"{self._target.authority} closed the connection")

    async def _both_ways(self, connection: Connection, head: h11.Request) -> bool:
        """The answer may begin, and end, before the request's body does. Whether the connection is whole afterwards."""
        upload = asyncio.create_task(self._upload(connection))
        download = asyncio.create_task(self._download(connection, upload))
        try:
            await asyncio.wait({upload, download}, return_when=asyncio.FIRST_COMPLETED)
            if upload.done() and not download.done():
                with contextlib.suppress(OSError):  # the answer may be there all the same
                    upload.result()
            await download
            return upload.done() and upload.exception() is None
        except _Stale:
            await self._again(head)
            return False
        finally:
            await _ended(upload, download)

    async def _again(self, head: h11.Request) -> None:
        """Over a fresh connection: the kept one had been closed. Of requests that may be repeated, and have no body."""
        connection = await self._upstream.connect(self._target, self._policy, fresh=True)
        try:
            await connection.send(head)
            await connection.send(h11.EndOfMessage())
            await self._download(connection, None)
        except OSError as error:
            raise Refused("ECONNRESET", f"{self._target.authority} closed the connection") from error
        finally:
            connection.close()

    # -- the request's body

    async def _length(self) -> int | None:
        """The body's length as it will be sent, None where it is not stated. A body in which something may be replaced is
        gathered for that, if it is small; a large one is looked through as it passes, and must have no placeholder."""
        stated = requests.stated_length(self._request.headers)
        if stated is None:
            return None
        if stated > self._limits.request_bytes:
            raise Refused("EMSGSIZE", f"the request's body is larger than {self._limits.request_bytes} bytes")
        if not self._swap.looks or stated > self._limits.rewritten_bytes:
            return stated
        data = b"".join([piece async for piece in self._body()])
        self._gathered = self._rewriter().whole(data)
        return len(self._gathered)

    async def _upload(self, connection: Connection) -> None:
        if self._gathered is not None:
            if self._gathered:
                await self._send_piece(connection, self._gathered)
        else:
            rewriter = self._rewriter() if requests.stated_length(self._request.headers) is None else self._detector()
            async for piece in self._body():
                await self._send_piece(connection, rewriter.feed(piece))
            await self._send_piece(connection, rewriter.finish())
        await connection.send(h11.EndOfMessage())

    async def _send_piece(self, connection: Connection, data: bytes) -> None:
        if not data:
            return
        try:
            async with asyncio.timeout(self._limits.idle_s):
                await connection.send(h11.Data(data=data))
        except TimeoutError:
            raise Refused("ETIMEDOUT", f"{self._target.authority} does not take in the request") from None

    async def _body(self) -> AsyncIterator[bytes]:
        """The body as the code sends it."""
        incoming = self._incoming
        if incoming.they_are_waiting_for_100_continue:
            await self._answer(h11.InformationalResponse(status_code=100, headers=[]))
        while True:
            event = incoming.next_event()
            if event is h11.NEED_DATA:
                incoming.receive_data(await self._read())
            elif isinstance(event, h11.Data):
                self._record.sent_bytes += len(event.data)
                if self._record.sent_bytes > self._limits.request_bytes:
                    raise Refused("EMSGSIZE", f"the request's body is larger than {self._limits.request_bytes} bytes")
                await self._make_way()
                yield bytes(event.data)
            else:
                return

    async def _make_way(self) -> None:
        """A body may come in pieces of a byte, which are there already: others have their turns in between."""
        self._events += 1
        if self._events % _EVENTS_AT_ONCE == 0:
            await asyncio.sleep(0)

    async def _read(self) -> bytes:
        try:
            async with asyncio.timeout(self._limits.idle_s):
                return await self._stream.read()
        except TimeoutError:
            raise Refused("ETIMEDOUT", f"the code sent no more of its request for {self._limits.idle_s:g} s") from None

    def _rewriter(self) -> Rewriter:
        return self._swap.body(_header(self._request.headers, b"content-type"))

    def _detector(self) -> Rewriter:
        return self._swap.none(f"larger than {self._limits.rewritten_bytes} bytes")

    # -- the answer

    async def _download(self, connection: Connection, upload: asyncio.Task[None] | None) -> None:
        response = await self._head(connection, upload)
        self._record.status = response.status_code
        decoder = self._decoder(response)
        scan = self._swap.answer() if self._swap.scans else Rewriter({})
        pieces = self._decoded(connection, decoder)
        length = requests.stated_length(response.headers)
        gathered: bytes | None = None
        if self._request.method == b"HEAD" or response.status_code in {204, 304}:
            gathered = b""
        elif decoder or (self._swap.scans and (length is None or length > _GATHERED_BYTES)):
            length = None
        elif self._swap.scans:
            gathered = scan.whole(b"".join([piece async for piece in pieces]))
            length = len(gathered)
        headers = requests.response_headers(response, self._swap, decoded=decoder is not None, length=length)
        reason = self._swap.answer().whole(bytes(response.reason))
        await self._answer(h11.Response(status_code=response.status_code, headers=headers, reason=reason))
        if gathered:
            await self._answer(h11.Data(data=gathered))
        async for piece in pieces:
            await self._answer_piece(scan.feed(piece))
        await self._answer_piece(scan.finish())
        self._record.end()
        await self._answer(h11.EndOfMessage())

    async def _head(self, connection: Connection, upload: asyncio.Task[None] | None) -> h11.Response:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as clock:

                def sent(_: object) -> None:
                    with contextlib.suppress(RuntimeError):  # the answer is there already
                        clock.reschedule(loop.time() + self._limits.first_byte_s)

                if upload:
                    upload.add_done_callback(sent)
                else:
                    sent(None)
                while not isinstance(event := await self._event(connection, first=True), h11.Response):
                    if not isinstance(event, h11.InformationalResponse):
                        raise Refused("EPROTO", f"{self._target.authority} did not answer with HTTP")
                return event
        except TimeoutError:
            message = f"{self._target.authority} did not answer within {self._limits.first_byte_s:g} s"
            raise Refused("ETIMEDOUT", message) from None

    async def _event(
        self, connection: Connection, *, first: bool = False
    ) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        try:
            while (event := connection.http.next_event()) is h11.NEED_DATA:
                try:
                    data = await connection.receive()
                except OSError:
                    data = b""
                if first and not data:
                    self._closed_early(connection)
                connection.http.receive_data(data)
        except h11.RemoteProtocolError as error:
            if "without sending complete message body" in str(error):
                raise Refused(
                    "ECONNRESET", f"{self._target.authority} closed the connection within its answer"
                ) from error
            raise Refused("EPROTO", f"{self._target.authority} did not answer with HTTP") from error
        return event

    def _closed_early(self, connection: Connection) -> None:
        if connection.reused and self._request.method in _REPEATABLE and not requests.has_body(self._request.headers):
            raise _Stale
        raise Refused("ECONNRESET", f"{self._target.authority} closed the connection without an answer")

    async def _decoded(self, connection: Connection, decoder: Decoder | None) -> AsyncIterator[bytes]:
        """The answer's body, to its end."""
        while isinstance(event := await self._timely(connection), h11.Data):
            await self._make_way()
            for piece in decoder.pieces(bytes(event.data)) if decoder else [bytes(event.data)]:
                self._record.received_bytes += len(piece)
                if self._record.received_bytes > self._limits.response_bytes:
                    raise Refused("EMSGSIZE", f"the answer is larger than {self._limits.response_bytes} bytes")
                yield piece

    async def _timely(self, connection: Connection) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        try:
            async with asyncio.timeout(self._limits.idle_s):
                return await self._event(connection)
        except TimeoutError:
            message = f"{self._target.authority} sent no more of its answer for {self._limits.idle_s:g} s"
            raise Refused("ETIMEDOUT", message) from None

    def _decoder(self, response: h11.Response) -> Decoder | None:
        """Where secrets are looked for in the answer, it must be readable."""
        coding = _header(response.headers, b"content-encoding").strip().lower()
        if not self._swap.scans or coding in {b"", b"identity"}:
            return None
        if coding in {b"gzip", b"x-gzip", b"deflate"}:
            return Decoder()
        shown = coding[:32].decode("ascii", "replace")
        raise Refused(
            "EPROTO",
            f"{self._target.authority} answered in {shown!r} though asked for an answer without compression: "
            "where a credential goes, answers are looked through for it",
        )

    async def _answer_piece(self, data: bytes) -> None:
        if data:
            await self._answer(h11.Data(data=data))

    async def _answer(self, event: h11.Event) -> None:
        data = self._incoming.send(event)
        if data:
            await self._stream.write(data)


class _Stale(Exception):
    """A kept connection had been closed by the server when it was used."""


def _checked_head(method: bytes, target: bytes, headers: list[tuple[bytes, bytes]]) -> h11.Request:
    try:
        return h11.Request(method=method, target=target, headers=headers)
    except h11.LocalProtocolError as error:
        raise Refused("EINVAL", "with its credentials in it, the request is none that HTTP has") from error


def _header(headers: h11._headers.Headers, wanted: bytes) -> bytes:
    return b",".join(value for name, value in headers if name == wanted)


async def _ended(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
