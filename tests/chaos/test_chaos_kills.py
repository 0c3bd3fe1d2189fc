"""SIGKILL at every point and at random, of workers and of who accepts webhooks: nothing is lost, nothing happens twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.chaos.backends import BACKENDS
from tests.chaos.checker import check
from tests.chaos.cluster import Shape
from tests.chaos.fate import POINTS
from tests.chaos.faults import kill_at_every_point, kill_at_random, stop_longer_than_the_lease
from tests.chaos.traffic import MIX, traffic

JOURNAL = ("journal.", "records.")
RECORDS = ("records.", "journal.forget")


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("backend", "which"),
    [
        ("sqlite", ("",)),
        ("redis", ("",)),
        ("redis and sqlite records", RECORDS),
        ("redis queue and postgres journal", JOURNAL),
    ],
    ids=BACKENDS,
)
async def test_death_at_any_point_loses_nothing(chaos: Any, backend: str, which: tuple[str, ...]) -> None:
    points = {role: tuple(name for name in names if name.startswith(which)) for role, names in POINTS.items()}
    async with chaos(backend, Shape(attempts=20)) as (running, _):
        async with traffic(running, seed=1):
            missed = await kill_at_every_point(running, seed=1, points=points)
        history = await running.finish()

    assert not check(history)
    assert missed == set()
    assert {name.replace("/", " ") for name in running.kills} >= {name for names in points.values() for name in names}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("backend", ["sqlite", "redis"])
async def test_death_at_any_time_loses_nothing(chaos: Any, backend: str) -> None:
    async with chaos(backend, Shape(attempts=20)) as (running, _):
        async with traffic(running, seed=2):
            await kill_at_random(running, kills=15, every_s=0.2, seed=2)
        history = await running.finish()

    assert not check(history)
    assert running.kills["at random"] >= 10


@pytest.mark.parametrize("backend", ["sqlite", "redis", "redis queue and postgres journal"])
async def test_a_worker_that_slept_over_its_leases_writes_nothing_more(chaos: Any, backend: str) -> None:
    async with chaos(backend, Shape(lease_s=1)) as (running, _):
        async with traffic(running, seed=3, mix={**MIX, "slow": 10}):
            await running.seen(lambda: running.count("reported") > 50)
            await asyncio.gather(*(stop_longer_than_the_lease(running, index) for index in range(2)))
        history = await running.finish()

    assert not check(history)
