"""A process that renews is killed, at each point: what the next one makes of what it left, at a provider of either kind.

Refresh tokens rotate. Where the provider has given the next one and nobody has kept it, a provider that takes the old one again
for a while costs nothing, and any other needs the customer: then it is known, said, and never taken for something else.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from turnout.errors import StepError
from turnout.local.database import Database
from turnout.local.sqlite_catalog import SQLiteCatalog
from turnout.services.oauth.renewal import LEASE_S

from tests.oauth.bench import Bench
from tests.oauth.server import Provider

ROOT = Path(__file__).parents[2]


@contextlib.asynccontextmanager
async def project(tmp_path: Path, provider: Provider) -> AsyncIterator[Bench]:
    """Connected, its access token expired."""
    database = Database(tmp_path / "turnout.db")
    bench = Bench(provider, catalog=SQLiteCatalog(database))
    try:
        await bench.connected()
        bench.clock.advance(601)
        yield bench
    finally:
        await bench.close()
        database.close()


@contextlib.asynccontextmanager
async def renewing(tmp_path: Path, bench: Bench, stop: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Another process that renews; killed at the end of this."""
    arguments = (str(tmp_path), bench.provider.issuer, str(bench.clock.now()), stop)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.oauth.renewing_process", *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


async def said(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), 60)).decode().strip()


async def takes_over(bench: Bench) -> str:
    """The token that another process gets after the lease is over; before, it waits."""
    waiting = asyncio.create_task(bench.token())
    while not waiting.done():
        await bench.clock.run(1.0, step=0.5)
        await asyncio.sleep(0.005)
    return await waiting


async def test_killed_before_the_provider_has_seen_its_request(tmp_path: Path, provider: Provider) -> None:
    async with project(tmp_path, provider) as bench:
        provider.control("hold", when="before")
        async with renewing(tmp_path, bench, "asking"):
            await provider.held()
        provider.control("drop")

        began = bench.clock.now()
        assert provider.api(await takes_over(bench)) == 200
        assert bench.clock.now() - began >= LEASE_S - 1, "nobody else asks while the lease holds"
        assert provider.counts["refresh_token"] == 1


@pytest.mark.parametrize("point", ["answering", "writing"])
async def test_killed_after_the_provider_has_answered_one_that_takes_the_old_token_again(
    tmp_path: Path, lenient: Provider, point: str
) -> None:
    async with project(tmp_path, lenient) as bench:
        await killed(tmp_path, bench, point)

        assert lenient.api(await takes_over(bench)) == 200
        assert lenient.counts["refused"] == 0
        bench.clock.advance(601)
        assert lenient.api(await bench.token()) == 200, "and it goes on from there"


@pytest.mark.parametrize("point", ["answering", "writing"])
async def test_killed_after_the_provider_has_answered_one_that_does_not(
    tmp_path: Path, provider: Provider, point: str
) -> None:
    async with project(tmp_path, provider) as bench:
        await killed(tmp_path, bench, point)

        with pytest.raises(StepError, match=r"a renewal before was interrupted.*the customer must connect it again"):
            await takes_over(bench)
        assert bench.book.marks[-1][2] == "broken"
        await bench.connected()
        assert provider.api(await bench.token()) == 200


async def killed(tmp_path: Path, bench: Bench, point: str) -> None:
    """A renewal that the provider has done and nobody has kept."""
    if point == "answering":
        bench.provider.control("hold", when="after")
    async with renewing(tmp_path, bench, point) as process:
        if point == "answering":
            await bench.provider.held()
        else:
            assert await said(process) == "writing"
    bench.provider.control("drop")
    assert bench.provider.counts["refresh_token"] == 1


async def test_killed_once_the_new_token_is_kept(tmp_path: Path, provider: Provider) -> None:
    async with project(tmp_path, provider) as bench:
        async with renewing(tmp_path, bench, "using") as process:
            token = await said(process)

        assert await bench.token() == token
        assert provider.counts["refresh_token"] == 1
