"""The local compute target: every service in this process, their routes on one port."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from typing import ClassVar

from turnout.interfaces.service import Service
from turnout.interfaces.target import Target, TargetLimits
from turnout.local.http import HttpServer, application

__all__ = ["LocalTarget"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class LocalTarget(Target):
    """This machine. Without a limit on time or size but the machine's own; `request_bytes` bounds a request's body."""

    name: ClassVar[str] = "local"
    limits: ClassVar[TargetLimits] = TargetLimits()

    def __init__(self, *, request_bytes: int = 500 * 1000 * 1000) -> None:
        self._request_bytes = request_bytes

    async def serve(
        self,
        services: Sequence[Service],
        *,
        host: str,
        port: int,
        ready: Callable[[int], None] = lambda port: None,
    ) -> None:
        """As the interface says. `ready` is called once everything serves, with the port it listens on."""
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for one in _SIGNALS:
            loop.add_signal_handler(one, stopping.set)
        routes = [route for service in services for route in service.routes()]
        server = HttpServer(application(routes, request_bytes=self._request_bytes), host=host, port=port)
        started: list[Service] = []
        try:
            for service in services:
                started.append(service)
                await service.start()
            await server.start()
            ready(server.port)
            await stopping.wait()
        finally:
            await server.stop()
            for service in reversed(started):
                await service.stop()
            for one in _SIGNALS:
                loop.remove_signal_handler(one)
