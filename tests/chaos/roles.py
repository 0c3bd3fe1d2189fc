"""What the processes do: a worker runs executions, the front accepts webhooks and makes records, the inspector says at the
end what the stores hold. Each opens the project as the product does, with watched backends and perhaps a wrong clock."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from turnout.config import RetentionSettings, load_settings
from turnout.definition import load_integration
from turnout.errors import NotFound, UserError
from turnout.interfaces.clock import SystemClock
from turnout.interfaces.records import ExecutionQuery
from turnout.interfaces.service import Request, Response, Route, Service
from turnout.local.api import api_of
from turnout.local.operations import Operations
from turnout.local.platform import Platform
from turnout.local.retention import Retention
from turnout.local.target import LocalTarget
from turnout.local.worker import WorkerProcess
from turnout.plugins import Registry
from turnout.services.metrics import Metrics
from turnout.values import Value

from tests.chaos.fate import ChaosFate
from tests.chaos.parts import WatchedRegistry

__all__ = ["ROLES"]

Spec = dict[str, Any]

_SWEEP_S = 2.0
_DRAIN_S = 5.0


class _Skewed(SystemClock):
    """A machine's clock that is off by some seconds."""

    def __init__(self, by_s: float) -> None:
        self._by_s = by_s

    def now(self) -> float:
        return super().now() + self._by_s


async def _open(spec: Spec, registry: Registry, **more: Any) -> Platform:
    at = spec.get("dies_at")
    fate = ChaosFate(Path(spec["trace"]), spec["life"], None if at is None else (at[0], at[1]))
    watched: Any = WatchedRegistry(registry, fate, broken=spec.get("broken", ""))
    return await Platform.open(
        load_settings(Path(spec["project"])),
        watched,
        clock=_Skewed(spec.get("clock_s", 0.0)),
        observers=(fate.observe, *more.pop("observers", ())),
        public_url=spec["url"],
        **more,
    )


async def _worker(spec: Spec, registry: Registry) -> None:
    """What `turnout worker` does. Only that what was accepted and never queued is looked for more often: each fault would
    take a minute otherwise."""
    metrics = Metrics()
    platform = await _open(spec, registry, observers=(metrics.observe,), watch=metrics, drain_s=_DRAIN_S)
    platform.recovery._sweep_s = platform.recovery._settle_s = _SWEEP_S

    def tell(event: str, _: Mapping[str, object]) -> None:
        if event == "ready":
            Path(spec["ready"]).write_text(spec["life"], encoding="utf-8")

    try:
        await WorkerProcess(platform, metrics, address=None, tell=tell).run()
    finally:
        await platform.close(record=False)


async def _front(spec: Spec, registry: Registry) -> None:
    """An instance `<workload>-<tenant>` of each workload for each tenant; the port stays the same over all lives."""
    platform = await _open(spec, registry)

    def ready() -> None:
        Path(spec["ready"]).write_text(spec["life"], encoding="utf-8")

    try:
        for project in spec["projects"]:
            integration = load_integration(Path(project["path"]) / "integration.yaml")
            given = {"config": project["config"], "connections": project["connections"]}
            for tenant in spec["tenants"]:
                await platform.deploy(integration, name=f"{integration.name}-{tenant}", tenant=tenant, **given)
        services: list[Service] = [
            platform.metadata,
            platform.ingress,
            api_of(platform),
            _Decisions(platform.operations),
        ]
        await LocalTarget().serve(services, host="127.0.0.1", port=spec["port"], ready=lambda _: ready())
    finally:
        await platform.close()


class _Decisions(Service):
    """`POST /chaos/decide/{id}` with `{"output": ...}` or `{"repeat": true}`: as a person does who has looked."""

    name = "decisions"

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def routes(self) -> list[Route]:
        return [Route(method="POST", path="/chaos/decide/{id}", handle=self._decide)]

    async def start(self) -> None:
        """Nothing runs on its own."""

    async def stop(self) -> None:
        """Nothing to stop."""

    async def _decide(self, request: Request) -> Response:
        decision = json.loads(b"".join([chunk async for chunk in request.body]))
        output = Value(decision["output"]) if "output" in decision else None
        try:
            await self._operations.resume(request.parameters["id"], repeat="repeat" in decision, output=output)
        except NotFound as error:
            return Response(status=404, body=str(error).encode())
        except UserError as error:
            return Response(status=409, body=str(error).encode())
        return Response(status=202)


async def _inspect(spec: Spec, registry: Registry) -> None:
    """Sweep as if two hours had gone by, then write what is left to `spec["into"]`, as JSON."""
    platform = await _open({**spec, "clock_s": 7200.0}, registry)
    try:
        await _complete_ended(platform)
        await Retention(platform.stores, platform.metadata, RetentionSettings()).prune()
        Path(spec["into"]).write_text(json.dumps(await _left(platform)), encoding="utf-8")
    finally:
        await platform.close()


async def _complete_ended(platform: Platform) -> None:
    """Complete what has ended and whose worker could not tell the queue, as the next worker does once its lease has run
    out. What has not ended stays leased, and is found."""
    queue, records = platform.stores.queue, platform.stores.records
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10):
            while (await queue.stats()).leased:
                for lease in await queue.take_many("inspector", limit=50, wait_s=0.2):
                    record = await records.get(lease.message.id)
                    if record is not None and record.status.final:
                        await queue.complete(lease)


async def _left(platform: Platform) -> dict[str, Any]:
    stores = platform.stores
    stats = await stores.queue.stats()
    named = await stores.records.references()
    payloads = [(tenant, ref.sha256) async for tenant, ref in stores.payloads.listing(older_than=float("inf"))]
    unfinished = await stores.journal.unfinished()
    return {
        "records": [await _record(platform, id) for id in await _all_ids(platform)],
        "waiting": stats.ready + stats.delayed + stats.held,
        "leased": stats.leased,
        "dead": [
            {"execution": dead.message.id, "attempts": dead.attempts} for dead in await stores.queue.dead(limit=100_000)
        ],
        "rows": len(await stores.journal.entries(after=0, limit=100_000)),
        "unfinished": list(unfinished),
        "unnamed": [sha256 for tenant, sha256 in payloads if (tenant, sha256) not in named],
        "missing": [sha256 for tenant, sha256 in named if not await stores.payloads.exists(tenant, sha256)],
    }


async def _all_ids(platform: Platform) -> list[str]:
    found: list[str] = []
    query = ExecutionQuery(limit=500)
    while page := await platform.stores.records.search(query):
        found += [record.info.id for record in page]
        query = replace(query, before=page[-1].info.id)
    return found


async def _record(platform: Platform, id: str) -> Mapping[str, Any]:
    record = await platform.stores.records.get(id)
    assert record is not None, id
    return {
        "execution": id,
        "instance": record.info.instance,
        "tenant": record.info.tenant,
        "status": record.status.value,
        "error": "" if record.error is None else f"{record.error.kind}: {record.error.message}",
        "steps": {step.path: step.status.value for step in record.steps},
    }


ROLES: Mapping[str, Callable[[Spec, Registry], Coroutine[Any, Any, None]]] = {
    "worker": _worker,
    "front": _front,
    "inspect": _inspect,
}
