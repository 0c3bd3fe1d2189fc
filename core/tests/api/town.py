"""A platform with two customers, each with an instance of its own and with keys, asked over HTTP: what the API's tests work with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from turnout import hookimpl
from turnout.config import ApiSettings, QueueSettings, RunnerSettings, Settings
from turnout.connectors import Connector
from turnout.definition.loader import load_yaml_text
from turnout.interfaces.oauth import OAuth2, OAuth2Provider
from turnout.local.api import api_of
from turnout.local.asgi import application
from turnout.local.platform import Platform
from turnout.plugins import load_plugins
from turnout.services.api_keys import ApiKeys, Role
from turnout.services.submission import Instance
from turnout.values import Value

from core.tests.api.described import require_described
from core.tests.engine.laboratory import SteppingClock
from core.tests.services.customers_yard import ERP

__all__ = ["CUSTOMERS", "ORDERS", "Town", "town_in"]

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


class Account(OAuth2):
    """An account that is connected in a browser."""

    provider = OAuth2Provider(
        authorization_url="https://mail.example/authorize",
        token_url="https://mail.example/token",
    )


MAIL = Connector("mail", description="Mail.")
MAIL.connection("account", Account)


class Installed:
    @hookimpl
    def turnout_connectors(self) -> Mapping[str, Connector]:
        return {"erp": ERP, "mail": MAIL}


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

    async def publish(self, text: str = ORDERS) -> None:
        """A version, by the side of the API."""
        await self.platform.tenants.versions.publish(load_yaml_text(text))

    async def connect(self, customer: str, name: str = "erp", key: str = "/admin", **fields: str) -> httpx.Response:
        """Make a connection of the type that `orders` needs; its user is the customer."""
        given = {"url": f"https://{customer}.example", "user": customer, "password": f"hunter2-of-{customer}", **fields}
        body = {"name": name, "connector": "erp", "type": "basic", "fields": given}
        return await self.ask("POST", f"/customers/{customer}/connections", key, json=body)

    async def deploy(self, customer: str, name: str = "orders", **config: Any) -> httpx.Response:
        """Deploy `orders` by the organisation's key."""
        body = {"integration": "orders", "name": name, "config": {"greeting": "hello", **config}}
        return await self.ask("POST", f"/customers/{customer}/instances", json=body)

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
    platform = await Platform.open(made, load_plugins(extra=[Installed()]), clock=clock)
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
