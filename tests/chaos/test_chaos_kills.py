"""SIGKILL at every point and at random, of workers and of who accepts webhooks: nothing is lost, nothing happens twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.chaos.checker import check
from tests.chaos.cluster import Shape, cluster
from tests.chaos.fate import POINTS
from tests.chaos.faults import kill_at_every_point, kill_at_random, stop_longer_than_the_lease
from tests.chaos.nursery import Nursery, nursery
from tests.chaos.traffic import MIX, traffic


@pytest.fixture
async def zygote() -> AsyncIterator[Nursery]:
    async with nursery() as opened:
        yield opened


@pytest.mark.timeout(180)
async def test_death_at_any_point_loses_nothing(tmp_path: Path, zygote: Nursery) -> None:
    async with cluster(tmp_path, Shape(attempts=20), zygote) as running:
        async with traffic(running, seed=1):
            missed = await kill_at_every_point(running, seed=1)
        history = await running.finish()

    assert not check(history)
    assert missed == set()
    assert {name.replace("/", " ") for name in running.kills} >= {name for names in POINTS.values() for name in names}


@pytest.mark.timeout(180)
async def test_death_at_any_time_loses_nothing(tmp_path: Path, zygote: Nursery) -> None:
    async with cluster(tmp_path, Shape(attempts=20), zygote) as running:
        async with traffic(running, seed=2):
            await kill_at_random(running, kills=30, every_s=0.2, seed=2)
        history = await running.finish()

    assert not check(history)
    assert running.kills["at random"] >= 25


async def test_a_worker_that_slept_over_its_leases_writes_nothing_more(tmp_path: Path, zygote: Nursery) -> None:
    async with cluster(tmp_path, Shape(lease_s=1), zygote) as running:
        async with traffic(running, seed=3, mix={**MIX, "slow": 10}):
            await running.seen(lambda: running.count("reported") > 50)
            for index in range(3):
                await stop_longer_than_the_lease(running, index)
        history = await running.finish()

    assert not check(history)
