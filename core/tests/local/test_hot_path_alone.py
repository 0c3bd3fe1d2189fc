"""What an execution costs does not depend on who reads the event stream: not whether anybody does, nor how slowly, nor how badly."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pytest
from turnout.config import LogSettings, Settings
from turnout.connectors import ActionContext, Connector, Effect, Inputs
from turnout.definition.loader import load_yaml_text
from turnout.engine.history import History
from turnout.interfaces.catalog import CatalogStore
from turnout.interfaces.journal import Journal
from turnout.interfaces.payloads import PayloadStore
from turnout.interfaces.queue import Queue
from turnout.interfaces.records import RecordStore
from turnout.interfaces.service import Request, Response, Route
from turnout.interfaces.state import StateStore
from turnout.local.asgi import application
from turnout.local.http import HttpServer
from turnout.local.platform import Platform
from turnout.model.events import Ended
from turnout.plugins import load_plugins
from turnout.services.submission import Instance
from turnout.values import Value

FLOWS = """
integration: shop
version: 1.0.0
flows:
  main:
    steps:
      - {id: look, action: shop.look}
      - id: each
        loop: {over: [1, 2, 3], steps: [{id: post, action: shop.post}]}
      - {id: count, action: state.increment, with: {key: runs}}
      - {id: fail, stop: {error: "as ever"}}
"""
RUNS = 10
How = Literal["down", "up", "slow", "failing"]

_hot: ContextVar[bool] = ContextVar("hot", default=False)


@dataclass
class Sink:
    """An intake of logs: takes what comes, once `open` is set; with `status` it says that it cannot."""

    status: int = 202
    taken: list[dict[str, Any]] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: Request) -> Response:
        body = b"".join([chunk async for chunk in request.body])
        self.asked.set()
        await self.open.wait()
        if self.status == 202:
            self.taken += json.loads(gzip.decompress(body))
        return Response(status=self.status)


def shop() -> Connector:
    connector = Connector("shop", connection_required=False)

    @connector.action(effect=Effect.READ)
    async def look(context: ActionContext, inputs: Inputs) -> int:
        """Look."""
        context.log.info("looked")
        return 1

    @connector.action(effect=Effect.EFFECT)
    async def post(context: ActionContext, inputs: Inputs) -> int:
        """Post."""
        return 2

    return connector


def counted(platform: Platform) -> Counter[str]:
    """Every call of a store that an execution, or whoever accepts it, makes from now on."""
    calls: Counter[str] = Counter()
    stores = platform.stores

    def count(store: Any, interface: type, name: str) -> None:
        call, label = getattr(store, name), f"{interface.__name__}.{name}"

        def counting(*given: Any, **options: Any) -> Any:
            calls[label] += _hot.get()
            return call(*given, **options)

        setattr(store, name, counting)

    for store, interface in (
        (stores.journal, Journal),
        (stores.queue, Queue),
        (stores.state, StateStore),
        (stores.payloads, PayloadStore),
        (stores.records, RecordStore),
        (stores.catalog, CatalogStore),
    ):
        for name in interface.__abstractmethods__ - {"durability", "close"}:
            count(store, interface, name)
    return calls


@asynccontextmanager
async def platform_in(directory: Path, sink: Sink) -> AsyncIterator[Platform]:
    server = HttpServer(
        application([Route(method="POST", path="/api/v2/logs", handle=sink.take)], request_bytes=10**9),
        host="127.0.0.1",
        port=0,
    )
    await server.start()
    options = {"url": f"http://127.0.0.1:{server.port}", "key": "k"}
    logs = LogSettings(kind="datadog", sources=("log", "steps", "executions"), options=options)
    platform = await Platform.open(Settings(root=directory, logs={"sink": logs}), load_plugins())
    connectors = {**platform.backends.connectors, "shop": shop()}
    platform.backends = platform.engine.backends = replace(platform.backends, connectors=connectors)
    try:
        yield platform
    finally:
        sink.open.set()
        await platform.close()
        await server.stop()


async def run(platform: Platform, instance: Instance) -> list[str]:
    """Executions from their acceptance to their end, as a worker runs them."""
    _hot.set(True)
    ids = []
    for _ in range(RUNS):
        accepted = await platform.submission.accept(instance, "main", Value({}))
        lease = await platform.stores.queue.claim("w", accepted.id)
        assert lease is not None
        await platform.runner.run(lease)
        ids.append(accepted.id)
    _hot.set(False)
    return ids


async def calls_where(how: How, directory: Path) -> Counter[str]:
    sink = Sink(status=503 if how == "failing" else 202)
    async with platform_in(directory, sink) as platform:
        instance = await platform.deploy(load_yaml_text(FLOWS, directory=str(directory)), config={}, connections={})
        calls = counted(platform)
        if how != "down":
            await platform.start(platform.metadata, platform.logs, platform.alerting.service)
            platform.stream.start([*platform.logs.consumers(), *platform.alerting.service.consumers()])
        if how != "slow":
            sink.open.set()
        else:
            await platform.submission.accept(instance, "main", Value({}))
            await asyncio.wait_for(sink.asked.wait(), 30)  # from here on the sink holds whoever asks

        ids = await run(platform, instance)

        if how == "slow":
            assert not sink.taken
        if how == "failing":
            await asyncio.wait_for(sink.asked.wait(), 30)
        else:
            sink.open.set()
            await caught_up(platform, sink, ids, alone=how == "down")
        await platform.stream.stop()
    return calls


async def caught_up(platform: Platform, sink: Sink, ids: list[str], *, alone: bool) -> None:
    """Whoever was away or slow has it all in the end, each line once."""
    if alone:
        await platform.stream.catch_up(platform.logs.consumers())
    async with asyncio.timeout(60):
        while {line["turnout"]["execution"] for line in ends(sink)} < set(ids):
            await asyncio.sleep(0.01)
    told = Counter(line["turnout"]["id"] for line in sink.taken)
    assert set(told.values()) == {1}


def ends(sink: Sink) -> list[dict[str, Any]]:
    return [line for line in sink.taken if line["message"].startswith("execution failed")]


@pytest.mark.parametrize("how", ["up", "slow", "failing"])
async def test_an_execution_costs_the_same_whoever_reads_after_it(how: How, tmp_path: Path) -> None:
    (tmp_path / "down").mkdir()
    (tmp_path / how).mkdir()

    alone = await calls_where("down", tmp_path / "down")
    beside = await calls_where(how, tmp_path / how)

    assert beside == alone
    assert alone["Journal.append"] + alone["Journal.begin"] >= 2 * RUNS
    assert not [name for name in alone if name.startswith(("RecordStore.", "CatalogStore.")) and alone[name]]


async def test_a_reader_that_breaks_in_any_way_breaks_no_execution(tmp_path: Path) -> None:
    async with platform_in(tmp_path, Sink()) as platform:
        instance = await platform.deploy(load_yaml_text(FLOWS, directory=str(tmp_path)), config={}, connections={})

        async def broken(**_: Any) -> Any:
            raise RuntimeError("a consumer's own fault")

        entries = platform.stores.journal.entries
        platform.stores.journal.entries = broken  # type: ignore[method-assign]
        platform.stream.start(platform.logs.consumers())
        ids = await run(platform, instance)
        await platform.stream.stop()
        platform.stores.journal.entries = entries  # type: ignore[method-assign]

        found = [event for id in ids for event in await ended(platform, id)]

        assert len(found) == RUNS


async def ended(platform: Platform, id: str) -> list[Ended]:
    end = History.of(await platform.stores.journal.rows(id)).ended
    return [] if end is None else [end]
