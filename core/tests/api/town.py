"""A platform with two customers, each with an instance of its own and with keys, asked over HTTP: what the API's tests work with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from turnout.config import ApiSettings, QueueSettings, RunnerSettings, Settings
from turnout.definition.loader import load_yaml_text
from turnout.local.api import api_of
from turnout.local.asgi import application
from turnout.local.platform import Platform
from turnout.plugins import load_plugins
from turnout.services.api_keys import ApiKeys, Role
from turnout.services.submission import Instance
from turnout.values import Value

from core.tests.api.described import require_described
from core.tests.engine.laboratory import SteppingClock

__all__ = ["CUSTOMERS", "Town", "town_in"]

CUSTOMERS = ("acme", "bolt")
FLOWS = """
integration: shop
version: 1.0.0
flows:
  main:
    trigger: webhook
    steps:
      - {id: count, action: state.increment, with: {key: runs}}
      - {id: done, stop: {output: {said: "${{ trigger.body }}", runs: "${{ steps.count.value }}"}}}
  fail:
    trigger: webhook
    steps:
      - {id: no, stop: {error: "cannot deliver to ${{ trigger.body }}"}}
  wait:
    trigger: webhook
    steps:
      - {id: long, wait: {for: 1h}}
"""


@dataclass
class Town:
    """`keys` has a key of each customer and role by `acme/read`, and the organisation's by `/read`."""

    platform: Platform
    clock: SteppingClock
    client: httpx.AsyncClient
    instances: dict[str, Instance] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    async def settle(self) -> None:
        """Deploy to each customer and make the keys."""
        integration = load_yaml_text(FLOWS)
        for customer in CUSTOMERS:
            await self.platform.tenants.customers.create(customer)
            self.instances[customer] = await self.platform.deploy(
                integration, config={}, connections={}, name=f"shop-{customer}", tenant=customer
            )
        keys = ApiKeys(self.platform.stores.catalog, self.clock)
        for customer in ("", *CUSTOMERS):
            for role in Role:
                made = await keys.create(f"{customer} {role}", role=role, customer=customer or None)
                self.keys[f"{customer}/{role}"] = made.text

    async def ask(self, method: str, path: str, key: str | None = "/admin", **options: Any) -> httpx.Response:
        """With the key of that name; None: without one. Every answer is held to its description."""
        headers = {} if key is None else {"authorization": f"Bearer {self.keys[key]}"}
        headers |= options.pop("headers", {})
        answer = await self.client.request(method, f"/api/v1{path}", headers=headers, **options)
        require_described(answer)
        return answer

    async def run(self, customer: str, flow: str = "main", body: Any = "x") -> str:
        """Run a flow of the customer's instance to where it ends or waits; the execution's id. Each is a millisecond later."""
        self.clock.at += 0.001
        accepted = await self.platform.submission.accept(self.instances[customer], flow, Value({"body": body}))
        await self.drain()
        return accepted.id

    async def drain(self) -> None:
        """Run all that is due."""
        while (lease := await self.platform.stores.queue.take("w", wait_s=0.0)) is not None:
            await self.platform.runner.run(lease)

    async def bury(self, customer: str) -> str:
        """A dead letter of the customer; its id."""
        accepted = await self.platform.submission.accept(self.instances[customer], "main", Value({"body": "dies"}))
        queue = self.platform.stores.queue
        for _ in range(self.platform.settings.queue.attempts):
            lease = await queue.claim("w", accepted.id)
            assert lease is not None
            await queue.fail(lease, reason=f"{customer}'s worker died")
        return accepted.id


@asynccontextmanager
async def town_in(directory: Path, api: ApiSettings | None = None, **settings: Any) -> AsyncIterator[Town]:
    made = Settings(
        root=directory,
        api=api or ApiSettings(),
        queue=QueueSettings(attempts=2),
        runner=RunnerSettings(allow_unsafe_sandbox=True),
        **settings,
    )
    clock = SteppingClock()
    platform = await Platform.open(made, load_plugins(), clock=clock)
    app = application(api_of(platform).routes(), request_bytes=10_000_000)
    try:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1:8400"
        ) as client:
            town = Town(platform, clock, client)
            await town.settle()
            yield town
    finally:
        await platform.close()
