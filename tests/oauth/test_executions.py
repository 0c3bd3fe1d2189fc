"""Executions that need a token, through the whole engine: in one process, and in several that work through one queue."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest
from turnout.cli.project import load_project, load_registry
from turnout.definition import load_integration
from turnout.interfaces.service import Invocation
from turnout.local.platform import Platform
from turnout.model.execution import ExecutionRecord, Status
from turnout.services.connections import ConnectionState, NewConnection
from turnout.services.documents import Documents
from turnout.services.oauth.tokens import KIND, TokenDocument
from turnout.services.submission import Instance
from turnout.values import Value

from tests.oauth.bench import Browser
from tests.oauth.server import Provider
from tests.worker.processes import Worker

EXECUTIONS = 100
FLOWS = """
integration: orders
version: 1.0.0
connections:
  erp: {connector: http, type: oauth2}
flows:
  fetch:
    steps:
      - {id: get, action: http.request, connection: erp, with: {url: /orders}}
      - {id: done, stop: {output: "${{ steps.get.json.who }}"}}
  twice:
    steps:
      - {id: before, action: http.request, connection: erp, with: {url: /orders}}
      - {id: after, action: http.request, connection: erp, with: {url: /orders}}
      - {id: done, stop: {output: ["${{ steps.before.json.sent }}", "${{ steps.after.json.sent }}"]}}
"""


@dataclass
class Shop:
    """A project with one customer, whose account is connected."""

    platform: Platform
    instance: Instance
    provider: Provider

    async def keep(self, name: str, kind: str, **fields: str) -> None:
        """A connection of the customer."""
        new = NewConnection(connector="http", type=kind, fields=fields)
        await self.platform.connections.create("acme", name, new)

    async def connect(self, link: str = "") -> None:
        browser = Browser(self.platform.oauth)
        url = await browser.leave(link or self.platform.oauth.link("acme", "erp"))
        page = await browser.callback(await self.provider.authorize(url))
        assert page.status == 303, page.body

    async def expire(self) -> None:
        """The access token is over as far as the platform knows."""
        documents = Documents(self.platform.stores.catalog, KIND, TokenDocument)
        found = await documents.get("erp", tenant="acme")
        assert found is not None
        past = self.platform.stores.clock.now() - 1
        value = msgspec.structs.replace(found.value, expires_at=past, obtained_at=past - 600)
        assert await documents.replace(found, value, due=found.due)

    async def send(self, count: int = EXECUTIONS) -> list[str]:
        accept = self.platform.submission.accept
        return [(await accept(self.instance, "fetch", Value({"number": number}))).id for number in range(count)]

    async def records(self, ids: list[str]) -> list[ExecutionRecord]:
        await self.platform.drained()
        found = [await self.platform.record(id) for id in ids]
        return [record for record in found if record is not None]


@asynccontextmanager
async def shop_in(directory: Path, provider: Provider, more: str = "") -> AsyncIterator[Shop]:
    (directory / "turnout.toml").write_text(f'[api]\nauthentication = "none"\n[runner]\nconcurrency = 100\n{more}')
    (directory / "integration.yaml").write_text(FLOWS)
    settings = load_project(directory)
    platform = await Platform.open(settings, load_registry(settings))
    try:
        fields = {
            "authorization_url": f"{provider.issuer}/auth",
            "token_url": f"{provider.issuer}/token",
            "issuer": provider.issuer,
            "scopes": "openid orders",
            "client_id": "shop",
            "client_secret": "shop-secret-of-the-client",
            "base_url": f"{provider.issuer}/api",
        }
        integration = load_integration(directory / "integration.yaml")
        deployed = await platform.deploy(integration, config={}, connections={}, tenant="acme")
        kept = await platform.instance_settings.save("acme", {}, {"erp": "erp"})
        shop = Shop(platform, replace(deployed, settings=kept), provider)
        await shop.keep("erp", "oauth2", **fields)
        yield shop
    finally:
        await platform.close()


async def test_a_hundred_executions_that_need_the_same_expired_token_at_once_cause_one_renewal(
    tmp_path: Path, provider: Provider
) -> None:
    async with shop_in(tmp_path, provider) as shop:
        await shop.connect()
        await shop.expire()
        ids = await shop.send()

        await shop.platform.start(shop.platform.runner)
        records = await shop.records(ids)

        assert [record.status for record in records] == [Status.SUCCEEDED] * EXECUTIONS
        assert provider.counts["refresh_token"] == 1
        seen = provider.control()["seen"]
        assert len(seen) == EXECUTIONS
        assert len(set(seen)) == 1, "nobody used the token of before"


async def test_processes_whose_executions_need_the_same_expired_token_cause_one_renewal(
    tmp_path: Path, provider: Provider
) -> None:
    async with shop_in(tmp_path, provider) as shop:
        await shop.connect()
        await shop.expire()
        ids = await shop.send()

        with Worker(tmp_path, name="one"), Worker(tmp_path, name="two"):
            records = await shop.records(ids)

        assert [record.status for record in records] == [Status.SUCCEEDED] * EXECUTIONS
        assert provider.counts["refresh_token"] == 1
        assert len(set(provider.control()["seen"])) == 1


async def test_an_execution_of_what_nobody_connected_says_what_to_do(tmp_path: Path, provider: Provider) -> None:
    async with shop_in(tmp_path, provider) as shop:
        ids = await shop.send(1)
        await shop.platform.start(shop.platform.runner)
        [record] = await shop.records(ids)

        assert record.status is Status.FAILED
        assert record.error is not None
        assert record.error.kind == "connection"
        assert "turnout connections connect acme erp" in record.error.message
        assert (await shop.platform.connections.get("acme", "erp")).state is ConnectionState.PENDING


async def test_a_connection_that_is_broken_says_so_to_people_and_is_mended_by_connecting(
    tmp_path: Path, provider: Provider
) -> None:
    async with shop_in(tmp_path, provider) as shop:
        await shop.connect()
        assert (await shop.platform.connections.get("acme", "erp")).state is ConnectionState.OK
        await shop.expire()
        provider.fail(
            {"status": 400, "headers": {"content-type": "application/json"}, "body": '{"error":"invalid_grant"}'}
        )
        await shop.platform.start(shop.platform.runner)

        [failed] = await shop.records(await shop.send(1))
        broken = await shop.platform.connections.get("acme", "erp")
        await shop.connect()
        [mended] = await shop.records(await shop.send(1))

        assert (failed.status, mended.status) == (Status.FAILED, Status.SUCCEEDED)
        assert failed.error is not None
        assert "the customer must connect it again" in failed.error.message
        assert broken.state is ConnectionState.BROKEN
        assert "invalid_grant" in broken.reason


async def test_tokens_are_masked_in_records_also_those_that_came_by_a_renewal(
    tmp_path: Path, provider: Provider
) -> None:
    """The API repeats the token, in a step before the renewal and in one after it."""
    async with shop_in(tmp_path, provider) as shop:
        await shop.connect()
        await shop.platform.start(shop.platform.runner)
        provider.control("hold", when="api")
        accepted = await shop.platform.submission.accept(shop.instance, "twice", Value({}))
        await provider.held()
        await shop.expire()
        await asyncio.to_thread(provider.control, "release")
        [record] = await shop.records([accepted.id])

        assert record.status is Status.SUCCEEDED
        assert record.output is not None
        assert record.output.json.decode() == '["Bearer ***","Bearer ***"]'
        assert len(set(provider.control()["seen"])) == 2
        for token in provider.control()["seen"]:
            assert token not in repr(record)


WATCHED = """
[alerts.channels.hook]
kind = "webhook"
url = "https://alerts.example/hook"
secret = "env:HOOK_SECRET"
[alerts.rules.reconnect]
kind = "connection"
channels = ["hook"]
"""


async def test_somebody_hears_of_a_connection_that_has_to_be_connected_again_and_that_it_is(
    tmp_path: Path, provider: Provider
) -> None:
    async with shop_in(tmp_path, provider, WATCHED) as shop:
        alerting = shop.platform.alerting
        await shop.connect()
        await shop.expire()
        provider.fail({"status": 400, "headers": {}, "body": '{"error":"invalid_grant"}'})
        await shop.platform.start(shop.platform.runner)
        await shop.records(await shop.send(1))

        await alerting.service.watch(Invocation())
        [alert] = [document.value async for document in alerting.book.every()]
        assert (alert.scope.customer, alert.scope.connection) == ("acme", "erp")
        assert alert.incident is not None
        assert [message.channel async for message in alerting.outbox.waiting()] == ["hook"]

        await shop.connect()
        await alerting.service.watch(Invocation())
        [alert] = [document.value async for document in alerting.book.every()]
        assert alert.incident is None


@pytest.mark.parametrize("where", ["error", "error_description"])
async def test_no_token_is_in_what_is_kept_of_a_failure(tmp_path: Path, provider: Provider, where: str) -> None:
    """A provider that repeats in its error what it was sent."""
    async with shop_in(tmp_path, provider) as shop:
        await shop.connect()
        tokens = shop.platform.oauth._parts.renewals._tokens
        found = await tokens.get("acme", "erp")
        assert found is not None
        secret = (await tokens.open(found)).refresh_token
        await shop.expire()
        body = {"error": "invalid_grant", where: f"no: {secret} of shop-secret-of-the-client"}
        provider.fail({"status": 400, "headers": {}, "body": json.dumps(body)})
        await shop.platform.start(shop.platform.runner)

        [failed] = await shop.records(await shop.send(1))

        assert failed.status is Status.FAILED
        shown = f"{failed!r} {await shop.platform.connections.get('acme', 'erp')!r}"
        assert secret not in shown
        assert "shop-secret-of-the-client" not in shown
        assert b"".join(file.read_bytes() for file in tmp_path.rglob("turnout.db*")).count(secret.encode()) == 0
