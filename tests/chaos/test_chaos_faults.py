"""Each fault by itself, short: what it does to others is waited out, then the whole history is checked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.chaos.checker import check
from tests.chaos.cluster import Shape
from tests.chaos.faults import full_disk, pester, restart, unreachable
from tests.chaos.traffic import traffic

OUTAGE_S = 3.0
"""Longer than a lease, and than what a client waits for an answer."""

pytestmark = pytest.mark.timeout(180)


@pytest.mark.parametrize("backend", ["sqlite", "redis"])
async def test_a_poison_execution_is_given_up_with_its_cursor_and_blocks_no_one(chaos: Any, backend: str) -> None:
    async with chaos(backend) as (running, _):
        async with traffic(running, seed=11):
            for tenant in running.shape.tenants:
                await running.send("poison", tenant)
            await running.seen(lambda: running.count("ended") > 50)
        history = await running.finish()

    assert not check(history)
    assert len(history.dead) == 2


@pytest.mark.parametrize("backend", ["sqlite", "redis"])
async def test_a_full_disk_delays_and_loses_nothing(chaos: Any, backend: str) -> None:
    async with chaos(backend) as (running, _):
        async with full_disk(running, beyond_bytes=4_500_000):
            for tenant in running.shape.tenants:
                await running.send("big", tenant)
            # Not that they began: what fails at its first content may be handed back before it has said so.
            await running.seen(lambda: running.log("worker").count("disk is full") >= 2)
        history = await running.finish()

    assert not check(history)


async def test_a_worker_whose_clock_is_an_hour_off_harms_nobody(chaos: Any) -> None:
    async with chaos("redis", Shape(clocks_s={0: 3600.0, 1: -3600.0})) as (running, _):
        async with traffic(running, seed=12):
            await running.seen(lambda: running.count("ended") > 30)
            running.kill(running.worker(0), "off by an hour")
            await running.seen(lambda: running.count("ended") > 60)
        history = await running.finish()

    assert not check(history)


@pytest.mark.parametrize("backend", ["sqlite", "redis"])
async def test_a_tenant_with_a_crowd_of_executions_lets_others_have_their_turns(chaos: Any, backend: str) -> None:
    async with chaos(backend, Shape(workers=2, concurrency=4)) as (running, _):
        await asyncio.gather(*(running.send("upsert", "acme") for _ in range(150)))
        for _ in range(5):
            await running.send("upsert", "bolt")
        history = await running.finish()

    assert not check(history)


@pytest.mark.parametrize(("fsync", "crash"), [("everysec", False), ("always", True)])
async def test_redis_restarts_with_its_append_only_file(chaos: Any, fsync: str, crash: bool) -> None:
    async with chaos("redis", fsync=fsync) as (running, servers):
        async with traffic(running, seed=13):
            for ended in (15, 30):
                await running.seen(lambda ended=ended: running.count("ended") > ended)
                await restart(servers.redis, crash=crash)
        history = await running.finish()

    assert not check(history)


@pytest.mark.parametrize("silent", [False, True], ids=["refusing", "silent"])
async def test_redis_is_away_for_longer_than_a_lease(chaos: Any, silent: bool) -> None:
    async with chaos("redis", Shape(lease_s=1)) as (running, servers):
        async with traffic(running, seed=14):
            await running.seen(lambda: running.count("ended") > 15)
            await unreachable(servers.redis_proxy, OUTAGE_S, silent=silent)
            await running.seen(lambda: running.count("ended") > 50)
        history = await running.finish()

    assert not check(history)


@pytest.mark.parametrize("backend", ["redis", "redis queue and postgres journal"])
async def test_a_bad_network_loses_nothing(chaos: Any, backend: str) -> None:
    async with chaos(backend) as (running, servers):
        async with traffic(running, seed=15):
            await running.seen(lambda: running.count("ended") > 20)
            await asyncio.gather(*(pester(proxy, 15, seed=15) for proxy in servers.proxies.values()))
        history = await running.finish()

    assert not check(history)


@pytest.mark.parametrize(("backend", "crash"), [("redis", False), ("redis queue and postgres journal", True)])
async def test_postgres_restarts(chaos: Any, backend: str, crash: bool) -> None:
    async with chaos(backend) as (running, servers):
        async with traffic(running, seed=16):
            for ended in (15, 30):
                await running.seen(lambda ended=ended: running.count("ended") > ended)
                await restart(servers.postgres, crash=crash)
        history = await running.finish()

    assert not check(history)


async def test_postgres_is_away_for_longer_than_a_lease(chaos: Any) -> None:
    async with chaos("redis queue and postgres journal", Shape(lease_s=1)) as (running, servers):
        async with traffic(running, seed=17):
            await running.seen(lambda: running.count("ended") > 15)
            await unreachable(servers.postgres_proxy, OUTAGE_S, silent=True)
            await running.seen(lambda: running.count("ended") > 40)
        history = await running.finish()

    assert not check(history)
