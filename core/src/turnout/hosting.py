"""A project's services in a process that is called, and does not serve: for compute targets that call functions.

A target that keeps processes runs them by `turnout service run`; one that calls opens a `Host` when it first does, keeps it for
as long as its process happens to live, and counts on nothing between two calls.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from turnout.config import load_settings
from turnout.definition.nearest import hint_for
from turnout.errors import NotFound
from turnout.interfaces.queue import Lease, Queue
from turnout.interfaces.service import Consumer, Invocation, Service, Timer
from turnout.local.asgi import application
from turnout.local.platform import Platform
from turnout.local.services import every_service
from turnout.plugins import load_plugins

__all__ = ["Host", "Lessor"]

_log = logging.getLogger("turnout.hosting")
Lessor = Callable[[Queue, str], Awaitable[Sequence[Lease]]]
"""Leases executions of the queue to the worker of this name."""


class Host:
    """Open it with `Host.open`. A service is started when it is first called, and stopped by `close`."""

    def __init__(self, platform: Platform, services: Sequence[Service]) -> None:
        self._platform = platform
        self._services = {service.name: service for service in services}
        self._started: dict[str, Service] = {}
        self._sandboxed = False

    @classmethod
    async def open(cls, root: Path, *, environment: str | None = None, storage: Path | None = None) -> Self:
        """The project in `root`. `storage` takes the place of its storage directory, where that cannot be written.
        `SettingsError`, `BackendError` say what is wrong."""
        settings = load_settings(root, environment=environment)
        if storage is not None:
            settings = replace(settings, storage=replace(settings.storage, directory=str(storage)))
        registry = load_plugins(settings)
        platform = await Platform.open(settings, registry, public_url=settings.project.url)
        try:
            return cls(platform, await every_service(platform))
        except BaseException:
            await platform.close(record=False)
            raise

    async def tick(self, service: str, timer: str, remaining_s: Callable[[], float]) -> None:
        """Call a timer of a service. What it raises is raised. `NotFound` if there is no such service or timer."""
        found = await self._service(service)
        call = _named(timer, found.timers(), f"timer of {service!r}")
        try:
            await call.handle(Invocation(remaining_s=remaining_s))
        finally:
            await self._platform.logs.own.flush()

    async def consume(self, service: str, consumer: str, remaining_s: Callable[[], float]) -> None:
        """Give a consumer of a service all that is new, or as much as time remains for. What it raises is raised, and comes again.
        `NotFound` if there is no such service or consumer."""
        found = await self._service(service)
        reader = _named(consumer, found.consumers(), f"consumer of {service!r}")
        try:
            await self._platform.stream.catch_up([reader], remaining_s=remaining_s)
        finally:
            await self._platform.logs.own.flush()

    async def work(self, service: str, remaining_s: Callable[[], float]) -> None:
        """Have a service do in this call what it does between calls elsewhere: the runner takes what its queue has. What it raises
        is raised. `NotFound` if there is no such service."""
        found = self._known(service)
        await self._ready()
        try:
            await found.work(Invocation(remaining_s=remaining_s))
        finally:
            await self._platform.logs.own.flush()

    async def run(self, lease: Lessor, remaining_s: Callable[[], float]) -> Sequence[Lease]:
        """Run what `lease` leases of the project's queue, and return that: each execution has ended, or was handed back."""
        runner = self._platform.runner
        await self._ready()
        leases = await lease(self._platform.stores.queue, runner.worker)
        try:
            await runner.work(Invocation(remaining_s=remaining_s), leases)
        finally:
            await self._platform.logs.own.flush()
        return leases

    async def application(self, service: str) -> Any:
        """The routes of a service as an ASGI application. `NotFound` if there is no such service."""
        found = await self._service(service)
        return application(found.routes(), request_bytes=self._platform.settings.limits.request_bytes)

    async def close(self) -> None:
        """Stop what was started, and let go of everything."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._platform.close, record=False)
            for service in self._started.values():
                stack.push_async_callback(service.stop)
            self._started.clear()

    async def _ready(self) -> None:
        """Once: what runs code must keep customers apart, and is there."""
        if self._sandboxed:
            return
        await self._platform.logs.own.start()
        await self._platform.check_tenancy()
        for note in await self._platform.start_sandbox():
            _log.info("%s", note)
        self._sandboxed = True

    def _known(self, name: str) -> Service:
        if name not in self._services:
            raise NotFound("service", name, hint=hint_for(name, self._services))
        return self._services[name]

    async def _service(self, name: str) -> Service:
        service = self._known(name)
        if name not in self._started:
            await self._platform.logs.own.start()
            self._started[name] = service
            await service.start()
        return service


def _named(name: str, found: Sequence[Timer | Consumer], kind: str) -> Any:
    by_name = {one.name: one for one in found}
    if name not in by_name:
        raise NotFound(kind, name, hint=hint_for(name, by_name))
    return by_name[name]
