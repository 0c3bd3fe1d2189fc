"""Webhooks in a stream: who sends them never waits for an execution, and never runs away from the workers."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.chaos.cluster import Cluster
from tests.chaos.workloads import WORKLOADS

__all__ = ["MIX", "Traffic", "traffic"]

MIX: Mapping[str, int] = {"orders": 6, "loop": 2, "fifo": 6, "upsert": 2, "plain": 3, "callback": 2}
"""How many of each among so many."""

_FORGOTTEN_S = 10.0
"""An execution that nobody said has ended by then is waited for no more: its process may have died before it could say so."""
_ORDERS = 3


@dataclass
class Traffic:
    """`most` executions at a time; `sent` so far. Executions with an order are sent one after the other by one sender for
    each order and tenant: what comes first is then known."""

    cluster: Cluster
    chance: random.Random
    most: int
    mix: Mapping[str, int]
    sent: int = 0
    limit: float = float("inf")
    _pending: dict[str, float] = field(default_factory=dict)
    _heard: int = 0

    def outstanding(self) -> int:
        told = self.cluster.told
        for line in itertools.islice(told, self._heard, None):
            if line.kind == "ended":
                self._pending.pop(line.words[0], None)
        self._heard = len(told)
        now = time.monotonic()
        self._pending = {id: at for id, at in self._pending.items() if now - at < _FORGOTTEN_S}
        return len(self._pending)

    async def one(self, workload: str, tenant: str, order: str = "") -> None:
        while self.outstanding() >= self.most:
            await asyncio.sleep(0.01)
        if self.sent < self.limit:
            self.sent += 1
            accepted = await self.cluster.send(workload, tenant, order=order)
            self._pending[accepted.execution] = time.monotonic()

    async def run(self, number: int) -> None:
        """One sender of many."""
        tenants = self.cluster.shape.tenants
        plain = {name: times for name, times in self.mix.items() if not WORKLOADS[name].ordered}
        while self.sent < self.limit:
            [workload] = self.chance.choices([*plain], [*plain.values()])
            await self.one(workload, self.chance.choice(tenants))

    async def run_in_order(self, workload: str, tenant: str, order: str) -> None:
        share = self.mix[workload] / sum(self.mix.values()) / len(self.cluster.shape.tenants) / _ORDERS
        own = 0
        while self.sent < self.limit:
            if own <= share * self.sent:
                own += 1
                await self.one(workload, tenant, order)
            else:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def traffic(
    cluster: Cluster,
    *,
    seed: int,
    most: int = 32,
    mix: Mapping[str, int] = MIX,
    executions: float = float("inf"),
    senders: int = 4,
) -> AsyncIterator[Traffic]:
    """Until the block ends, or so many executions are sent."""
    stream = Traffic(cluster, random.Random(seed), most, mix, limit=executions)
    tasks = [asyncio.ensure_future(stream.run(number)) for number in range(senders)]
    for name in [name for name in mix if WORKLOADS[name].ordered]:
        for tenant, number in itertools.product(cluster.shape.tenants, range(_ORDERS)):
            tasks.append(asyncio.ensure_future(stream.run_in_order(name, tenant, f"order-{number}")))
    try:
        yield stream
    finally:
        # What is on its way is waited for: an answer that nobody reads would be an execution that nobody knows.
        stream.limit = stream.sent
        await asyncio.gather(*tasks)
