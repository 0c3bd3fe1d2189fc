"""The runner's process: takes and runs executions until it is told to stop, then drains.

The first SIGTERM or SIGINT takes nothing more and lets what runs finish for a while; a second one, or the end of that
while, hands back what still runs, to go on elsewhere.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from turnout.interfaces.service import Service
from turnout.local.asgi import application
from turnout.local.http import HttpServer, url_of
from turnout.local.measuring import presence_of
from turnout.local.platform import Platform
from turnout.services.behind import Readings
from turnout.services.health import Health
from turnout.services.logs.counts import LogCounts
from turnout.services.metrics import Metrics

__all__ = ["WorkerProcess"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

Tell = Callable[[str, dict[str, object]], None]


class WorkerProcess:
    """Runs a platform's runner and recovery. `address` is where health and metrics are served, None for nowhere; `tell` is
    called with each event of its own: `listening`, `ready`, `draining`, `stopped`, and what belongs to it."""

    def __init__(
        self, platform: Platform, metrics: Metrics, *, address: tuple[str, int] | None, tell: Tell = lambda *_: None
    ) -> None:
        self._platform = platform
        self._address = address
        self._tell = tell
        self._stopping = asyncio.Event()
        stores, runner = platform.stores, platform.runner
        self._health = Health(stores.queue, stores.journal, runner, metrics)
        readings = Readings(
            journal=stores.journal,
            records=stores.records,
            consumers=platform.consumers,
            counts=LogCounts(stores.catalog),
            clock=stores.clock,
            names=platform.consumer_names,
            sinks=tuple(platform.settings.logs),
        )
        metrics.attach(stores.queue, runner, platform.backends.sandbox, readings)

    async def run(self) -> None:
        """Until a signal, and what runs has finished or was handed back. `BackendError` if it cannot start."""
        platform = self._platform
        # Who drains takes nothing more: presence, the last to start, is the first to stop.
        services: tuple[Service, ...] = (
            *(platform.logs.own, self._health, platform.recovery, platform.runner),
            *presence_of(platform),
        )
        server = self._server()
        with self._listening_to_signals():
            started: list[Service] = []
            try:
                if server is not None and self._address is not None:
                    await server.start()
                    self._tell("listening", {"url": url_of(self._address[0], server.port)})
                await platform.check_tenancy()
                notes = await platform.start_sandbox()
                if not self._stopping.is_set():
                    for service in services:
                        started.append(service)
                        await service.start()
                    self._health.ready = True
                    self._tell("ready", {"worker": platform.runner.worker, "notes": notes})
                await self._stopping.wait()
                self._tell("draining", {"running": platform.runner.running})
            finally:
                for service in reversed(started):
                    await service.stop()
                if server is not None:
                    await server.stop()
        self._tell("stopped", {"handed_back": platform.runner.handed_back})

    def _server(self) -> HttpServer | None:
        if self._address is None:
            return None
        host, port = self._address
        return HttpServer(application(self._health.routes(), request_bytes=0), host=host, port=port)

    @contextmanager
    def _listening_to_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for one in _SIGNALS:
            loop.add_signal_handler(one, self.stop)
        try:
            yield
        finally:
            for one in _SIGNALS:
                loop.remove_signal_handler(one)

    def stop(self) -> None:
        """Begin to drain; called again, hand everything back now."""
        if self._stopping.is_set():
            self._platform.runner.hurry()
        self._stopping.set()
        self._platform.runner.refuse_more()
