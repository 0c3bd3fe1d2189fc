"""What goes wrong, each as one function of a running cluster: it does its harm, waits for what the harm needs, and undoes it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import resource
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from turnout_ecs.testing.servers import RedisServer
from turnout_postgres.standins.server import PostgresServer

from tests.chaos.cluster import Cluster
from tests.chaos.fate import POINTS
from tests.chaos.nursery import Life
from tests.chaos.proxy import Proxy

__all__ = [
    "full_disk",
    "kill_at_every_point",
    "kill_at_random",
    "pester",
    "restart",
    "stop_longer_than_the_lease",
    "unreachable",
]

_PATIENCE_S = 4.0
"""How long a process may take to reach the point that it dies at before it is helped; it grows with each time."""
_TRIES = 5
_OF_OTHERS = ("journal.fence", "queue.reap")
"""Points that a worker passes only if another one died and it was the first to notice."""
_RARE = ("journal.fence", "queue.reap", "queue.release", "queue.extend", "records.apply", "journal.forget")
"""Points that are passed now and then only: they are died at the first time."""


async def kill_at_every_point(
    cluster: Cluster, *, seed: int = 0, points: dict[str, tuple[str, ...]] | None = None
) -> set[str]:
    """Have a process die at each point, its first, second or third time there; points that none reached. For use while
    there is traffic. A point that is not reached is tried with another life, or what leads to it is done to others."""
    chance = random.Random(seed)
    wanted = {role: list(names) for role, names in (points or POINTS).items()}
    missed: set[str] = set()
    for role, names in wanted.items():
        chance.shuffle(names)
        cluster.deaths[role].extend((name, 0 if name.startswith(_RARE) else chance.randrange(3)) for name in names)
    for life in [cluster.front, *cluster.workers]:
        cluster.kill(life, "to begin with")
    tries: Counter[str] = Counter()
    while any(cluster.deaths.values()) or any(life.dies_at for life in [cluster.front, *cluster.workers]):
        await asyncio.sleep(0.05)
        for life in [cluster.front, *cluster.workers]:
            if life.dies_at is None or not life.alive or life.age_s < _patience_s(tries[life.dies_at[0]]):
                continue
            tries[life.dies_at[0]] += 1
            if tries[life.dies_at[0]] >= _TRIES:
                missed.add(life.dies_at[0])
                cluster.kill(life, "a point was not reached")
            else:
                _help(cluster, life, life.dies_at)
    return missed


def _patience_s(tries: int) -> float:
    return _PATIENCE_S * (tries + 1) * (tries + 2) / 2


def _help(cluster: Cluster, life: Life, point: tuple[str, int]) -> None:
    """Bring a process to its point: the others leave what it has to take back, or its next life tries, the first time there."""
    if point[0].startswith(_OF_OTHERS):
        for other in cluster.workers:
            if other.dies_at is None:
                cluster.kill(other, "for others to notice")
    else:
        cluster.deaths["front" if life is cluster.front else "worker"].append((point[0], 0))
        cluster.kill(life, "a point was not reached yet")


async def kill_at_random(cluster: Cluster, *, kills: int, every_s: float, seed: int = 0) -> None:
    """SIGKILL of a random worker, or of the front now and then."""
    chance = random.Random(seed)
    for _ in range(kills):
        await asyncio.sleep(chance.expovariate(1 / every_s))
        life = cluster.front if chance.random() < 0.1 else chance.choice(cluster.workers or [cluster.front])
        cluster.kill(life, "at random")


async def stop_longer_than_the_lease(cluster: Cluster, index: int = 0) -> None:
    """A worker stands still until its leases have run out and others have its executions; then it wakes and knows nothing
    of it."""
    life = cluster.worker(index)
    life.send(signal.SIGSTOP)
    await asyncio.sleep(cluster.shape.lease_s * 1.5)
    life.send(signal.SIGCONT)


async def restart(server: RedisServer | PostgresServer, *, crash: bool) -> None:
    """Stopped as an operator does, or killed; and started with what it has on its disk."""
    await asyncio.to_thread(lambda: server.restart(crash=crash))


async def unreachable(proxy: Proxy, seconds: float, *, silent: bool) -> None:
    """Whoever connects is refused; or, `silent`, nobody is told anything."""
    async with proxy.silent() if silent else proxy.refusing():
        await asyncio.sleep(seconds)


async def pester(proxy: Proxy, times: int, *, seed: int = 0) -> None:
    """A bad network: connections are cut, cut in the middle of an answer, half closed, slow."""
    chance = random.Random(seed)
    for _ in range(times):
        await asyncio.sleep(chance.uniform(0.05, 0.3))
        match chance.randrange(4):
            case 0:
                proxy.cut()
            case 1:
                proxy.cut_in_reply(chance.randrange(1, 200))
            case 2:
                proxy.half_close()
            case _:
                async with proxy.slow(0.05):
                    await asyncio.sleep(0.3)


@asynccontextmanager
async def full_disk(cluster: Cluster, *, beyond_bytes: int) -> AsyncIterator[None]:
    """No process can write a file beyond this size; as on a full disk, what is small still finds a gap. Works without root,
    and for processes that run."""
    changed = [cluster.front, *cluster.workers]
    _bound_files(changed, beyond_bytes)
    try:
        yield
    finally:
        _bound_files(changed, resource.RLIM_INFINITY)


def _bound_files(lives: list[Life], most_bytes: int) -> None:
    for life in lives:
        if life.alive:
            with contextlib.suppress(ProcessLookupError):  # it died this moment
                resource.prlimit(life.pid, resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))
