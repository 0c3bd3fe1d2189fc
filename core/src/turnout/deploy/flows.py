"""How long flows keep a worker busy, by what their executions took: what a target's limit on time is compared with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from turnout.interfaces.records import ExecutionQuery, RecordStore
from turnout.model.definition import Flow, Integration
from turnout.model.execution import ExecutionRecord

__all__ = ["BusyLoop", "FlowUse", "busy_s", "flow_use"]

_LOOKED_AT: Final = 200
"""Executions of a flow, the newest ones."""
_LOOKED_INTO: Final = 3
"""Of these the longest, whose steps are read."""
_ITEM: Final = re.compile(r"([^\[\]]+)\[(\d+)\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class BusyLoop:
    """The longest loop of an execution: how many items it had, and how long it took."""

    step: str
    items: int
    took_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowUse:
    """What is known of a flow: `timeout_s` that its definition sets, and of the `executions` looked at the one that kept a
    worker busy the longest, `busy_s`, waits aside."""

    integration: str
    flow: str
    timeout_s: float | None = None
    executions: int = 0
    longest: str = ""
    busy_s: float = 0.0
    loop: BusyLoop | None = None


async def flow_use(integration: Integration, flow: Flow, records: RecordStore) -> FlowUse:
    """What the newest executions of a flow took. `BackendError` if the records cannot be read."""
    query = ExecutionQuery(integration=integration.name, flow=flow.name, limit=_LOOKED_AT)
    ended = [record for record in await records.search(query) if record.duration_ms is not None]
    use = FlowUse(integration=integration.name, flow=flow.name, timeout_s=flow.timeout_s, executions=len(ended))
    longest = sorted(ended, key=lambda record: record.duration_ms or 0.0, reverse=True)[:_LOOKED_INTO]
    whole = [record for one in longest if (record := await records.get(one.info.id)) is not None]
    if not whole:
        return use
    busiest = max(whole, key=busy_s)
    return FlowUse(
        integration=use.integration,
        flow=use.flow,
        timeout_s=use.timeout_s,
        executions=use.executions,
        longest=busiest.info.id,
        busy_s=busy_s(busiest),
        loop=_longest_loop(busiest),
    )


def busy_s(record: ExecutionRecord) -> float:
    """From its start to its end, without the waits that it left its worker for."""
    waited_ms = sum(step.duration_ms for step in record.steps if step.kind == "wait")
    return max(0.0, (record.duration_ms or 0.0) - waited_ms) / 1000


def _longest_loop(record: ExecutionRecord) -> BusyLoop | None:
    items: dict[str, int] = {}
    for step in record.steps:
        for found in _ITEM.finditer(step.path):
            path = step.path[: found.end(1)]
            items[path] = max(items.get(path, 0), int(found[2]) + 1)
    loops: Sequence[BusyLoop] = [
        BusyLoop(step=step.path, items=items[step.path], took_s=step.duration_ms / 1000)
        for step in record.steps
        if step.path in items
    ]
    return max(loops, key=lambda loop: loop.took_s, default=None)
