"""The long form: traffic on one backend after the other, and all the while one fault after another, until enough was sent and
killed."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.backends import Backend, backend
from tests.chaos.checker import Finding, check
from tests.chaos.cluster import Cluster, Shape, cluster
from tests.chaos.faults import (
    full_disk,
    kill_at_every_point,
    kill_at_random,
    pester,
    restart,
    stop_longer_than_the_lease,
    unreachable,
)
from tests.chaos.nursery import nursery
from tests.chaos.traffic import MIX, Traffic, traffic

__all__ = ["FAULTS", "Campaign", "Outcome", "run_backend"]

_KILLS = 20
_FULL_BYTES = 4_500_000
_OFF_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """`executions` and `kills` of one backend, at least; `minutes` are the most that it may take to send them. `only` names
    the one fault that is done; all in turn without it."""

    executions: int
    kills: int
    seed: int
    minutes: float
    outage_s: float = 10.0
    only: str = ""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one backend. `faults` counts how often each was done, `effects` the requests that the other side got."""

    backend: str
    seed: int
    executions: int
    kills: Mapping[str, int]
    faults: Mapping[str, int]
    effects: int
    seconds: float
    findings: list[Finding] = field(default_factory=list)

    @property
    def killed(self) -> int:
        return sum(self.kills.values())


@dataclass
class _Disturbance:
    """One fault after the other, each in its turn, in an order that the seed gives."""

    cluster: Cluster
    backend: Backend
    campaign: Campaign
    chance: random.Random
    done: dict[str, int] = field(default_factory=dict)
    now: str = ""

    async def run(self) -> None:
        fitting = [name for name in FAULTS if self._fits(name)]
        while True:
            for name in self.chance.sample(fitting, len(fitting)):
                self.now = name
                await FAULTS[name](self)
                self.done[name] = self.done.get(name, 0) + 1

    def _fits(self, name: str) -> bool:
        if self.campaign.only and name != self.campaign.only:
            return False
        part = name.partition(" ")[0]
        return not (
            (part == "redis" and self.backend.redis is None) or (part == "postgres" and self.backend.postgres is None)
        )

    async def some_kills(self) -> None:
        await kill_at_random(self.cluster, kills=_KILLS, every_s=0.3, seed=self.chance.getrandbits(32))

    async def kill_points(self) -> None:
        await kill_at_every_point(self.cluster, seed=self.chance.getrandbits(32))

    async def zombie(self) -> None:
        await stop_longer_than_the_lease(self.cluster, self.chance.randrange(self.cluster.shape.workers))

    async def poison(self) -> None:
        await self.cluster.send("poison", self.chance.choice(self.cluster.shape.tenants))

    async def disk(self) -> None:
        async with full_disk(self.cluster, beyond_bytes=_FULL_BYTES):
            await self.cluster.send("big", self.chance.choice(self.cluster.shape.tenants))
            await asyncio.sleep(self.campaign.outage_s / 3)

    async def restart_redis(self) -> None:
        assert self.backend.redis is not None
        await restart(self.backend.redis, crash=False)

    async def restart_postgres(self) -> None:
        assert self.backend.postgres is not None
        await restart(self.backend.postgres, crash=self.chance.random() < 0.5)

    async def away(self, name: str) -> None:
        await unreachable(self.backend.proxies[name], self.campaign.outage_s, silent=self.chance.random() < 0.5)

    async def bad_network(self, name: str) -> None:
        await pester(self.backend.proxies[name], 20, seed=self.chance.getrandbits(32))


FAULTS: Mapping[str, Callable[[_Disturbance], Awaitable[None]]] = {
    "kills": _Disturbance.some_kills,
    "kill points": _Disturbance.kill_points,
    "zombie": _Disturbance.zombie,
    "poison": _Disturbance.poison,
    "full disk": _Disturbance.disk,
    "redis restarts": _Disturbance.restart_redis,
    "redis away": lambda it: it.away("redis"),
    "redis network": lambda it: it.bad_network("redis"),
    "postgres restarts": _Disturbance.restart_postgres,
    "postgres away": lambda it: it.away("postgres"),
    "postgres network": lambda it: it.bad_network("postgres"),
}
"""By name. Those that begin with a server's name need it."""


async def run_backend(name: str, campaign: Campaign, directory: Path, tell: Callable[[str], None]) -> Outcome:
    """Everything on this backend; `tell` gets a line of progress now and then. One worker of four has a clock that is an
    hour fast, where workers do not share one clock by being of one machine."""
    began = time.monotonic()
    async with nursery() as zygote, backend(name, directory / "servers") as servers:
        clocks = {} if servers.redis is None else {0: _OFF_S}
        shape = Shape(attempts=20, stores=servers.stores, tenants=("noisy", "acme", "bolt"), clocks_s=clocks)
        async with cluster(directory / "cluster", shape, zygote) as running:
            disturbance = _Disturbance(running, servers, campaign, random.Random(campaign.seed))
            async with traffic(running, seed=campaign.seed, mix=MIX, executions=campaign.executions) as stream:
                await _disturbed(disturbance, stream, began, lambda line: tell(f"{name}: {line}"))
            tell(f"{name}: sent {stream.sent}; waiting for the last ends")
            history = await running.finish(within_s=180)
            return Outcome(
                backend=name,
                seed=campaign.seed,
                executions=len(running.sent),
                kills=dict(running.kills),
                faults=disturbance.done,
                effects=len(history.effects),
                seconds=time.monotonic() - began,
                findings=check(history),
            )


async def _disturbed(disturbance: _Disturbance, stream: Traffic, began: float, tell: Callable[[str], None]) -> None:
    """Until enough was sent and killed, or the time is over."""
    campaign, running = disturbance.campaign, disturbance.cluster
    task = asyncio.ensure_future(disturbance.run())
    told = 0.0
    try:
        while time.monotonic() - began < campaign.minutes * 60:
            if task.done():
                task.result()
            if stream.sent >= campaign.executions:
                if running.kills.total() >= campaign.kills:
                    return
                stream.limit = stream.sent + 100  # whoever is killed must have something to do
            if time.monotonic() - told > 5:
                told = time.monotonic()
                tell(
                    f"{stream.sent} sent, {running.count('ended')} ended, {running.kills.total()} kills; {disturbance.now}"
                )
            await asyncio.sleep(0.2)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        for deaths in running.deaths.values():
            deaths.clear()
        for life in [running.front, *running.workers]:
            if life.dies_at is not None:
                running.kill(life, "the campaign was over before its point")
