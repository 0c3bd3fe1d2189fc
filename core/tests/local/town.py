"""A platform with customers: versions published, deployed and run by hand, under a clock that stands still."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from turnout import hookimpl
from turnout.config import Settings
from turnout.connectors import Connector
from turnout.definition.loader import load_yaml_text
from turnout.interfaces.service import Invocation
from turnout.local.asgi import application
from turnout.local.platform import Platform
from turnout.model.execution import ExecutionRecord
from turnout.plugins import load_plugins
from turnout.services.connections import NewConnection
from turnout.services.instances import NewInstance
from turnout.services.versions import Published

from core.tests.engine.laboratory import SteppingClock
from core.tests.services.customers_yard import ERP

BASIC = {"url": "https://erp.example", "password": "hunter2-of-acme"}
ORDERS = """
integration: orders
version: 1.0.0
config:
  greeting: {type: string}
  size: {type: integer, default: 10}
connections:
  erp: {connector: erp, type: basic}
flows:
  take:
    trigger: webhook
    steps:
      - {id: who, action: erp.whoami, connection: erp}
      - {id: out, stop: {output: "${{ config.greeting }} ${{ steps.who }} ${{ config.size }}"}}
"""
HOOKS = """
  hello:
    trigger: on_deploy
    steps: [{id: out, stop: {output: "${{ trigger.body }}"}}]
  goodbye:
    trigger: on_delete
    steps: [{id: out, stop: {output: "${{ trigger.body }}"}}]
"""


class Installed:
    @hookimpl
    def turnout_connectors(self) -> Mapping[str, Connector]:
        return {"erp": ERP}


@dataclass
class Town:
    """Nothing runs by itself: a test takes executions from the queue with `ran`."""

    platform: Platform
    clock: SteppingClock

    async def publish(self, text: str, directory: Path) -> Published:
        return await self.platform.tenants.versions.publish(load_yaml_text(text, directory=str(directory)))

    async def move_in(self, *customers: str) -> None:
        """Each with a connection `erp`, as whose user it is known."""
        for customer in customers:
            await self.platform.tenants.customers.create(customer)
            fields = {**BASIC, "user": customer}
            await self.platform.connections.create(
                customer, "erp", NewConnection(connector="erp", type="basic", fields=fields)
            )

    async def deploy(self, customer: str, name: str = "orders", **config: Any) -> None:
        new = NewInstance(integration="orders", config={"greeting": "hello", **config})
        await self.platform.tenants.deployments.deploy(customer, name, new)

    async def send(self, path: str) -> httpx.Response:
        """A webhook, to the ingress as it is served."""
        app = application(self.platform.ingress.routes(), request_bytes=1024)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://turnout") as client:
            return await client.post(path, json={})

    async def ran(self, id: str) -> ExecutionRecord:
        await self.platform.follow(id)
        record = await self.platform.record(id)
        assert record is not None
        return record

    async def called(self, customer: str, name: str = "orders") -> Any:
        """What an execution that a webhook starts gives."""
        answer = await self.send(f"/hooks/{customer}/{name}/take")
        assert answer.status_code == 202, answer.text
        return output_of(await self.ran(answer.json()["execution"]))

    async def keep_up(self, times: int = 1) -> None:
        """As the timer of the service `instances` does."""
        for _ in range(times):
            await self.platform.tenants.removal.due(Invocation())


def output_of(record: ExecutionRecord) -> Any:
    assert record.error is None, record.error
    assert record.output is not None
    return json.loads(record.output.json)


@asynccontextmanager
async def town_in(
    directory: Path, settings: Settings | None = None, clock: SteppingClock | None = None
) -> AsyncIterator[Town]:
    clock = clock or SteppingClock()
    plugins = load_plugins(extra=[Installed()])
    platform = await Platform.open(settings or Settings(root=directory), plugins, clock=clock)
    try:
        yield Town(platform, clock)
    finally:
        await platform.close()
