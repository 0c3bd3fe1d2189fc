"""A platform whose flow `main` has limits, taken from by hand: what the tests of limits work with."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
from turnout import hookimpl
from turnout.config import ApiSettings, Authentication, QueueSettings, Settings, StoresSettings
from turnout.definition.loader import load_yaml_text
from turnout.interfaces.opening import Opening
from turnout.interfaces.queue import Lease, Queue, QueueCapability
from turnout.interfaces.service import Request, Response
from turnout.local.api import api_of
from turnout.local.asgi import application
from turnout.local.memory_queue import MemoryQueue
from turnout.local.platform import Platform
from turnout.model.execution import ExecutionRecord
from turnout.plugins import load_plugins
from turnout.services.submission import Acceptance, Instance
from turnout.values import Value

from core.tests.engine.laboratory import SteppingClock

__all__ = ["Shop", "said", "shop_in"]

STEPS = '[{id: done, stop: {output: "${{ trigger.body }}"}}]'


class OpenedMemoryQueue(MemoryQueue):
    """Under a name, as settings choose queues."""

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        return cls(clock=opening.clock, lease_s=opening.lease_s, policies=opening.policies)


class Unlimited(OpenedMemoryQueue):
    """A queue that keeps no limits, as a third party's may be."""

    capabilities = MemoryQueue.capabilities - {QueueCapability.LIMITS}


class InMemory:
    @hookimpl
    def turnout_queues(self) -> Mapping[str, type[Queue]]:
        return {"in-memory": OpenedMemoryQueue, "unlimited": Unlimited}


@dataclass
class Shop:
    """`platform` serves nothing: what runs, a test takes from the queue."""

    platform: Platform
    clock: SteppingClock

    async def deploy(self, limits: str, steps: str = STEPS) -> Instance:
        text = f"integration: shop\nflows:\n  main:\n    trigger: webhook\n    limits: {limits}\n    steps: {steps}\n"
        return await self.platform.deploy(load_yaml_text(text), config={}, connections={})

    async def accept(self, instance: Instance, body: Any = None, **options: Any) -> Acceptance:
        return await self.platform.submission.accept(instance, "main", Value({"body": body}), **options)

    async def post(self, body: Any, query: Mapping[str, str] | None = None) -> Response:
        """A webhook, after the flow was deployed."""

        async def stream() -> AsyncIterator[bytes]:
            yield json.dumps(body).encode()

        return await self.platform.ingress.hook(
            Request(
                method="POST",
                path="/",
                headers={"content-type": "application/json"},
                query=query or {},
                parameters={"instance": "shop", "flow": "main"},
                body=stream(),
            )
        )

    async def take(self) -> Lease | None:
        return await self.platform.stores.queue.take("w", wait_s=0.0)

    async def taken(self) -> list[str]:
        """The ids of all that can be taken now, in their order; they stay leased."""
        ids = []
        while (lease := await self.take()) is not None:
            ids.append(lease.message.id)
        return ids

    async def run_next(self) -> str:
        """Take what comes next and run it; its id, empty if there is nothing to take."""
        lease = await self.take()
        if lease is None:
            return ""
        await self.platform.runner.run(lease)
        return lease.message.id

    async def drain(self) -> list[str]:
        """Run what can be taken until nothing can; the ids in their order."""
        ids = []
        while id := await self.run_next():
            ids.append(id)
        return ids

    async def record(self, id: str) -> ExecutionRecord:
        record = await self.platform.record(id)
        assert record is not None
        return record

    async def logs(self, id: str) -> list[tuple[str, str]]:
        await self.platform.metadata.catch_up()
        return [(line.level, line.message) for _, line in await self.platform.stores.records.logs(id)]

    def client(self) -> httpx.AsyncClient:
        """For its HTTP API."""
        app = application(api_of(self.platform).routes(), request_bytes=1000)
        return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost")


def said(answer: Response) -> Any:
    assert isinstance(answer.body, bytes)
    return json.loads(answer.body)


@asynccontextmanager
async def shop_in(directory: Path, *, queue: str = "sqlite", capacity: int | None = None) -> AsyncIterator[Shop]:
    settings = Settings(
        root=directory,
        api=ApiSettings(authentication=Authentication.NONE),
        stores=StoresSettings(queue=queue),
        queue=QueueSettings(capacity=capacity, lease_s=30.0),
    )
    clock = SteppingClock()
    platform = await Platform.open(settings, load_plugins(extra=[InMemory()]), clock=clock)
    try:
        yield Shop(platform=platform, clock=clock)
    finally:
        await platform.close()
