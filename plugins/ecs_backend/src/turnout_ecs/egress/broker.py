"""The egress broker of one sandboxed process: the only way from there to the network."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from typing import Final

import h11
from turnout.interfaces.sandbox import Egress, Exchange

from turnout_ecs.egress.credentials import Credentials
from turnout_ecs.egress.errors import Refused
from turnout_ecs.egress.exchange import Record, Relay
from turnout_ecs.egress.frames import NotAFrame
from turnout_ecs.egress.limits import EgressLimits
from turnout_ecs.egress.link import Link, Stream, StreamGone
from turnout_ecs.egress.policy import Policy
from turnout_ecs.egress.requests import opened_target
from turnout_ecs.egress.upstream import Resolve, Target, Upstream, resolve_by_system, verifying_context

__all__ = ["Broker"]

_log: Final = logging.getLogger(__name__)
_HEAD_PIECE_BYTES: Final = 4096
_JOB_ENDED: Final = "the job that made the request has ended"


class _Attached:
    """What holds for the running job."""

    def __init__(self, egress: Egress, limits: EgressLimits) -> None:
        self.egress = egress
        self.policy = Policy(egress.hosts, limits.openable)
        self.credentials = Credentials(egress.credentials)
        self.running: dict[asyncio.Task[None], Record] = {}
        self.requests = 0
        self._most_observed = 2 * limits.requests
        self._observed = 0

    def observe(self, exchange: Exchange) -> None:
        self._observed += 1
        if self._observed <= self._most_observed:
            self.egress.observe(exchange)

    def end(self) -> None:
        """End the requests that are under way."""
        for task, record in tuple(self.running.items()):
            if not record.over:
                record.end(_JOB_ENDED)
                task.cancel()


class Broker:
    """Serves one process, from `open` to `close`, one job at a time: nothing is reachable but between `attach` and `detach`.

    What the code opens stays open over several jobs; what it may do is decided at each request, by the job of that moment.
    """

    def __init__(self, limits: EgressLimits, tls: ssl.SSLContext, resolve: Resolve) -> None:
        self._limits = limits
        self._upstream = Upstream(limits, tls, resolve)
        self._attached: _Attached | None = None
        self._sessions: set[asyncio.Task[None]] = set()
        self._link: Link | None = None
        self._opens = 0
        self._last_hosts: tuple[str, ...] = ()

    @classmethod
    async def open(
        cls,
        end: socket.socket,
        limits: EgressLimits | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        resolve: Resolve = resolve_by_system,
    ) -> Broker:
        """Serve the process that has the other end of this socketpair. `tls` verifies servers: the system's authorities
        if not given. The broker owns `end` from now on."""
        broker = cls(limits or EgressLimits(), tls or verifying_context(), resolve)
        try:
            broker._link = await Link.open(end, broker._opened, broker._limits.streams)
        except BaseException:
            end.close()
            raise
        return broker

    @property
    def broken(self) -> str:
        """What the process said on its descriptor that is no frame, if it did. The connection is gone then."""
        return self._link.broken if self._link else ""

    def attach(self, egress: Egress) -> None:
        """A job begins. `UserError` for a host or placeholder that is none."""
        attached = _Attached(egress, self._limits)
        if egress.hosts != self._last_hosts:
            self._upstream.drop_idle()
        self._last_hosts = egress.hosts
        self.detach()
        self._attached = attached
        self._opens = 0

    def detach(self) -> None:
        """The job is over: requests that are under way are ended and observed as such. Idempotent."""
        attached, self._attached = self._attached, None
        if attached:
            attached.end()

    async def close(self) -> None:
        """End everything. Idempotent."""
        self.detach()
        sessions = tuple(self._sessions)
        for task in sessions:
            task.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)
        self._upstream.drop_idle()
        if self._link:
            self._link.close()
            await self._link.closed

    def _opened(self, stream: Stream) -> None:
        """`NotAFrame` for more connections than a job has requests to make: each costs something though nothing is asked."""
        self._opens += 1
        if self._opens > self._limits.requests:
            raise NotAFrame(f"more than {self._limits.requests} connections are opened")
        task = asyncio.get_running_loop().create_task(self._serve(stream))
        self._sessions.add(task)
        task.add_done_callback(self._sessions.discard)
        stream.on_gone = task.cancel

    async def _serve(self, stream: Stream) -> None:
        """A stream, from its opening to its end, request by request."""
        target: Target | None = None
        record: Record | None = None
        try:
            target = opened_target(stream.opening)
            self._current().policy.check(target.host, target.port)
            stream.accept()
            incoming = h11.Connection(h11.SERVER, max_incomplete_event_size=self._limits.header_bytes)
            while request := await _next_request(stream, incoming):
                attached = self._current()
                record = Record(request, target, attached.observe)
                await self._relay(attached, stream, incoming, request, target, record)
                record = None
                if incoming.our_state is not h11.DONE or incoming.their_state is not h11.DONE:
                    break
                incoming.start_next_cycle()
            stream.end()
        except Refused as refused:
            if record is None and self._attached:
                record = Record(None, target, self._attached.observe)
            if record:
                record.end(str(refused))
            stream.refuse(refused.code, str(refused))
        except StreamGone:
            pass
        except Exception:
            _log.exception("the egress broker failed")
            if record:
                record.end("the request failed within Turnout")
            stream.refuse("EPROTO", "the request failed within Turnout")
        finally:
            if record:
                record.end("the code closed the connection")
            stream.close()

    async def _relay(
        self,
        attached: _Attached,
        stream: Stream,
        incoming: h11.Connection,
        request: h11.Request,
        target: Target,
        record: Record,
    ) -> None:
        relay = Relay(
            stream,
            incoming,
            request,
            target=target,
            policy=attached.policy,
            swap=attached.credentials.swap(target.host, target.port),
            upstream=self._upstream,
            limits=self._limits,
            record=record,
        )
        task = asyncio.create_task(relay.run())
        attached.running[task] = record
        task.add_done_callback(attached.running.pop)
        try:
            async with asyncio.timeout(self._limits.total_s):
                await task
        except TimeoutError:
            raise Refused("ETIMEDOUT", f"the request took longer than {self._limits.total_s:g} s") from None
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current and current.cancelling():
                raise
            raise Refused("ECONNABORTED", _JOB_ENDED) from None
        except h11.RemoteProtocolError as error:
            raise _no_http(error) from error

    def _current(self) -> _Attached:
        if self._attached is None:
            raise Refused("EACCES", "no job is running")
        self._attached.requests += 1
        if self._attached.requests > self._limits.requests:
            raise Refused("EACCES", f"a job makes at most {self._limits.requests} requests")
        return self._attached


async def _next_request(stream: Stream, incoming: h11.Connection) -> h11.Request | None:
    """None when the code makes no more. What has come is handed on in pieces: h11 bounds headers only while they are incomplete."""
    data = b""
    try:
        while (event := incoming.next_event()) is h11.NEED_DATA:
            data = data or await stream.read()
            incoming.receive_data(data[:_HEAD_PIECE_BYTES])
            data = data[_HEAD_PIECE_BYTES:]
        if data:
            incoming.receive_data(data)
    except h11.RemoteProtocolError as error:
        raise _no_http(error) from error
    return event if isinstance(event, h11.Request) else None


def _no_http(error: h11.RemoteProtocolError) -> Refused:
    return Refused("EPROTO", f"only HTTP works in the sandbox, and what the code wrote is none: {error}")
