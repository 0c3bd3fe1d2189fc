"""Wherever the journal is: who was away while an execution failed and was resumed hears of the failure, and of each step once."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from turnout.config import Settings, StoresSettings
from turnout.connectors import ActionContext, Connector, Effect, Inputs, StepError
from turnout.definition.loader import load_yaml_text
from turnout.interfaces.service import Consumer, Delivery, Invocation
from turnout.local.platform import Platform
from turnout.model.events import EVENTS, Accepted, Ended, StepEnded
from turnout.model.execution import Status
from turnout.plugins import load_plugins
from turnout.services.consumers import ConsumerState
from turnout.values import Value
from turnout_ecs.testing.servers import RedisServer
from turnout_postgres.standins.server import PostgresServer

FLOWS = """
integration: shop
version: 1.0.0
flows:
  main:
    steps:
      - {id: first, action: shop.post}
      - {id: second, action: shop.post}
      - {id: third, action: shop.post}
"""


def shop(failing: list[int], calls: list[int]) -> Connector:
    connector = Connector("shop", connection_required=False)

    @connector.action(effect=Effect.EFFECT)
    async def post(context: ActionContext, inputs: Inputs) -> int:
        """Post."""
        calls.append(len(calls) + 1)
        if calls[-1] in failing:
            raise StepError("the shop is closed", kind="closed")
        return calls[-1]

    return connector


def stores_of(kind: str, stack: ExitStack, directory: Path) -> tuple[StoresSettings, dict[str, dict[str, Any]]]:
    match kind:
        case "redis":
            redis = stack.enter_context(RedisServer(directory / "redis"))
            return StoresSettings(queue="redis", journal="redis"), {"redis": {"url": redis.url}}
        case "postgres":
            server = stack.enter_context(PostgresServer())
            return StoresSettings(journal="postgres"), {"postgres": {"url": server.url, "migrate": True}}
        case _:
            return StoresSettings(journal=kind), {}


@asynccontextmanager
async def platform_on(kind: str, directory: Path, failing: list[int], calls: list[int]) -> AsyncIterator[Platform]:
    with ExitStack() as stack:
        stores, backends = stores_of(kind, stack, directory)
        settings = Settings(root=directory, stores=stores, backends=backends)
        platform = await Platform.open(settings, load_plugins())
        connectors = {**platform.backends.connectors, "shop": shop(failing, calls)}
        platform.backends = platform.engine.backends = replace(platform.backends, connectors=connectors)
        try:
            yield platform
        finally:
            await platform.close()


async def run(platform: Platform, id: str) -> Status:
    lease = await platform.stores.queue.claim("w", id)
    assert lease is not None
    await platform.runner.run(lease)
    record = await platform.record(id)
    assert record is not None
    return record.status


@pytest.mark.parametrize("unread", [True, False], ids=["unread", "read"])
@pytest.mark.parametrize("kind", ["sqlite", "redis", "postgres"])
async def test_a_resume_loses_and_doubles_nothing(kind: str, unread: bool, tmp_path: Path) -> None:
    calls: list[int] = []
    got: list[Delivery] = []

    async def handle(deliveries: Sequence[Delivery], call: Invocation) -> list[str]:
        got.extend(deliveries)
        return []

    reader = Consumer(name="reader", events=frozenset(EVENTS), handle=handle)
    async with platform_on(kind, tmp_path, [2, 4], calls) as platform:
        # Away, it holds the rows; at hand, they are forgotten once it has read them.
        await platform.consumers.put("watch/reader", ConsumerState(until=1e12))
        instance = await platform.deploy(load_yaml_text(FLOWS, directory=str(tmp_path)), config={}, connections={})
        id = (await platform.submission.accept(instance, "main", Value({}))).id
        statuses = [await run(platform, id)]
        for _ in range(2):
            if not unread:
                await platform.stream.catch_up([reader])
                await platform.consumers.remove("watch/reader")
                await platform.metadata.catch_up()
                assert not await platform.stores.journal.rows(id)
                await platform.consumers.put("watch/reader", ConsumerState(until=1e12))
            await platform.operations.resume(id)
            statuses.append(await run(platform, id))
        await platform.stream.catch_up([reader])

        assert statuses == [Status.FAILED, Status.FAILED, Status.SUCCEEDED]
        assert calls == [1, 2, 3, 4, 5]
        assert [one.event.status for one in got if isinstance(one.event, Ended)] == statuses
        assert Counter((one.event.path, one.event.status.value) for one in got if isinstance(one.event, StepEnded)) == {
            ("first", "succeeded"): 1,
            ("second", "failed"): 1,
            ("second", "succeeded"): 1,
            ("third", "failed"): 1,
            ("third", "succeeded"): 1,
        }
        assert [isinstance(one.event, Accepted) for one in got].count(True) == 1
        assert len({one.id for one in got}) == len(got)
