"""The local compute target: every service in this process, their routes on one port."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

from turnout.interfaces.clock import Clock, SystemClock
from turnout.interfaces.service import Service
from turnout.interfaces.target import Target, TargetLimits
from turnout.local.asgi import application
from turnout.local.http import HttpServer
from turnout.local.stream import EventStream
from turnout.local.timers import Timers

__all__ = ["LocalTarget"]

_log = logging.getLogger("turnout.target")
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class LocalTarget(Target):
    """This machine. Without a limit on time or size but the machine's own; `request_bytes` bounds a request's body. Consumers
    are given what `stream` reads."""

    name: ClassVar[str] = "local"
    limits: ClassVar[TargetLimits] = TargetLimits()

    def __init__(
        self,
        *,
        request_bytes: int = 500 * 1000 * 1000,
        clock: Clock | None = None,
        stream: EventStream | None = None,
    ) -> None:
        self._request_bytes = request_bytes
        self._clock = clock or SystemClock()
        self._stream = stream

    async def serve(
        self,
        services: Sequence[Service],
        *,
        host: str,
        port: int,
        bound: Callable[[int], None] = lambda port: None,
        ready: Callable[[int], None] = lambda port: None,
    ) -> None:
        """As the interface says. `bound` is called with the port it listens on, before any service starts; `ready` once
        everything serves."""
        routes = [route for service in services for route in service.routes()]
        server = HttpServer(application(routes, request_bytes=self._request_bytes), host=host, port=port)
        bound(server.port)
        started: list[Service] = []
        timers = Timers([timer for service in services for timer in service.timers()], self._clock)
        with _asked_to_stop() as stopping:
            try:
                for service in services:
                    started.append(service)
                    await service.start()
                timers.start()
                if self._stream is not None:
                    self._stream.start(consumer for service in services for consumer in service.consumers())
                await server.start()
                ready(server.port)
                await stopping.wait()
            finally:
                drivers = [timers.stop] if self._stream is None else [timers.stop, self._stream.stop]
                await _stop([server.stop, *drivers, *(service.stop for service in reversed(started))])


@contextmanager
def _asked_to_stop() -> Iterator[asyncio.Event]:
    """Set by the first signal; until the end of this, later ones change nothing."""
    stopping, loop = asyncio.Event(), asyncio.get_running_loop()
    for one in _SIGNALS:
        loop.add_signal_handler(one, stopping.set)
    try:
        yield stopping
    finally:
        for one in _SIGNALS:
            loop.remove_signal_handler(one)


async def _stop(stops: Sequence[Callable[[], Awaitable[None]]]) -> None:
    """All of them, whether or not one fails; then the first failure is raised."""
    failure: Exception | None = None
    for stop in stops:
        try:
            await stop()
        except Exception as error:
            failure = failure or error
            _log.warning("a service did not stop cleanly: %s", error)
    if failure is not None:
        raise failure
