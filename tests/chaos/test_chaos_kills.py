"""SIGKILL at every point and at random, of workers and of who accepts webhooks: nothing is lost, nothing happens twice."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chaos.backends import BACKENDS
from tests.chaos.checker import check
from tests.chaos.cluster import Shape
from tests.chaos.fate import POINTS
from tests.chaos.faults import kill_at_every_point, kill_at_random, stop_longer_than_the_lease
from tests.chaos.traffic import MIX, traffic


@pytest.mark.timeout(300)
@pytest.mark.parametrize("backend", BACKENDS)
async def test_death_at_any_point_loses_nothing(chaos: Any, backend: str) -> None:
    async with chaos(backend, Shape(attempts=20)) as (running, _):
        async with traffic(running, seed=1):
            missed = await kill_at_every_point(running, seed=1)
        history = await running.finish()

    assert not check(history)
    assert missed == set()
    assert {name.replace("/", " ") for name in running.kills} >= {name for names in POINTS.values() for name in names}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("backend", ["sqlite", "redis"])
async def test_death_at_any_time_loses_nothing(chaos: Any, backend: str) -> None:
    async with chaos(backend, Shape(attempts=20)) as (running, _):
        async with traffic(running, seed=2):
            await kill_at_random(running, kills=30, every_s=0.2, seed=2)
        history = await running.finish()

    assert not check(history)
    assert running.kills["at random"] >= 25


@pytest.mark.parametrize("backend", BACKENDS)
async def test_a_worker_that_slept_over_its_leases_writes_nothing_more(chaos: Any, backend: str) -> None:
    async with chaos(backend, Shape(lease_s=1)) as (running, _):
        async with traffic(running, seed=3, mix={**MIX, "slow": 10}):
            await running.seen(lambda: running.count("reported") > 50)
            for index in range(2):
                await stop_longer_than_the_lease(running, index)
        history = await running.finish()

    assert not check(history)
