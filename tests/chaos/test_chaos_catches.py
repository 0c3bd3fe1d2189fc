"""The whole harness catches backends that break their promises: the same workers, the same kills, one part that lies."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.chaos.checker import check
from tests.chaos.cluster import Shape, cluster
from tests.chaos.faults import kill_at_random, stop_longer_than_the_lease
from tests.chaos.nursery import nursery
from tests.chaos.traffic import traffic


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        ("forgets rows", "what was reported is not done again"),
        ("loses messages", "every accepted execution ends"),
        ("unfenced", "what was reported is not done again"),
        ("keeps messages", "nothing is left"),
    ],
)
async def test_a_broken_part_is_caught(tmp_path: Path, broken: str, rule: str) -> None:
    async with nursery() as zygote, cluster(tmp_path, Shape(lease_s=1, broken=broken), zygote) as running:
        async with traffic(running, seed=4, mix={"orders": 2, "slow": 6, "upsert": 1}):
            await running.seen(lambda: running.count("reported") > 30)
            await asyncio.gather(*(stop_longer_than_the_lease(running, index) for index in range(2)))
            await kill_at_random(running, kills=8, every_s=0.2, seed=4)
        history = await running.finish(within_s=8)

    assert rule in {finding.rule for finding in check(history)}
