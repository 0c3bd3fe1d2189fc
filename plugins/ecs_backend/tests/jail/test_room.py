"""A worker that may not open as many descriptors as its jails take, or has not the memory, is told at its start."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
from turnout.interfaces.sandbox import Limits, Success
from turnout.sandbox.pool import PoolSizes
from turnout.testing.sandbox import bundle_of, job
from turnout_ecs.jail.bubblewrap import BubblewrapSandbox
from turnout_ecs.jail.options import BubblewrapOptions, ChrootOptions
from turnout_ecs.jail.room import DESCRIPTORS, make_room
from turnout_ecs.jail.sandbox import ChrootSandbox, JailSandbox

_STARTING = """
import asyncio, resource, sys
from pathlib import Path
from turnout_ecs.jail.options import ChrootOptions
from turnout_ecs.jail.sandbox import ChrootSandbox
async def main():
    sandbox = ChrootSandbox(ChrootOptions(jail=Path(sys.argv[1]), max_processes=20, warm_ceiling=3))
    for line in await sandbox.start():
        print(line)
    await sandbox.close()
    print(resource.getrlimit(resource.RLIMIT_NOFILE))
asyncio.run(main())
"""


@pytest.fixture
def limits() -> Iterator[tuple[int, int]]:
    """On descriptors; a test may lower the soft one."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def sizes(running: int) -> PoolSizes:
    return PoolSizes(floor=1, ceiling=2, running=running, makers=1)


def test_the_soft_limit_is_raised_where_it_is_too_low(limits: tuple[int, int]) -> None:
    _, hard = limits
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))

    assert make_room("chroot", sizes(20), 2) == []
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)


def test_a_soft_limit_that_is_enough_is_left_alone(limits: tuple[int, int]) -> None:
    _, hard = limits
    resource.setrlimit(resource.RLIMIT_NOFILE, (600, hard))

    assert make_room("chroot", sizes(20), 2) == []
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (600, hard)


@pytest.mark.parametrize("lacking", [0, 1])
def test_a_worker_says_at_its_start_that_the_hard_limit_is_too_low(jail: Path, lacking: int) -> None:
    needed = 2 * DESCRIPTORS * (20 + 3 + ChrootOptions(max_processes=20).sizes().makers) + 128
    most = needed - lacking

    done = subprocess.run(
        [sys.executable, "-c", _STARTING, str(jail)],
        preexec_fn=partial(resource.setrlimit, resource.RLIMIT_NOFILE, (most - 50, most)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    said = (
        f"this process may open {most} files, and 20 jails for each language take up to {needed}: start it with a higher "
        f"limit (`ulimit -n {needed}`, `--ulimit nofile={needed}` of a container), or set max_processes of [backends.chroot] "
        "to 19 at most\n"
    )
    assert done.stdout == lacking * said + f"({most}, {most})\n", done.stderr


def test_what_the_memory_cannot_hold_is_said(limits: tuple[int, int]) -> None:
    (line,) = (line for line in make_room("bubblewrap", sizes(1_000_000), 1) if "memory" in line)

    assert line.startswith("there are ")
    assert "1000000 jails take 25000050 MB before their code holds anything" in line
    assert "max_processes of [backends.bubblewrap] to" in line


@pytest.fixture(params=["chroot", pytest.param("bubblewrap", marks=pytest.mark.withheld("namespaces"))])
async def sandbox(request: pytest.FixtureRequest, jail: Path) -> AsyncIterator[JailSandbox]:
    sandbox: JailSandbox = (
        ChrootSandbox(ChrootOptions(jail=jail, warm_floor=0, warm_ceiling=1))
        if request.param == "chroot"
        else BubblewrapSandbox(BubblewrapOptions(jail=jail, warm_floor=0, warm_ceiling=1))
    )
    yield sandbox
    await sandbox.close()


async def test_jails_take_no_more_descriptors_than_are_counted_and_leave_none(
    sandbox: JailSandbox, tmp_path: Path
) -> None:
    bundle = bundle_of(tmp_path, {"step.mjs": "export default () => 1"})
    at_first = opened()
    await sandbox.start()
    before = opened()
    handles = [await sandbox.acquire("acme", bundle, Limits()) for _ in range(4)]
    for handle in handles:
        assert isinstance(await handle.run(job("step.mjs")), Success)
    for pool in sandbox._pools.values():
        await pool.settle()
    stats = sandbox.stats()
    assert stats is not None

    taken = opened() - before
    for handle in handles:
        await handle.release()
    await sandbox.close()

    assert 5 * stats.busy <= taken
    assert taken <= (DESCRIPTORS - 1) * (stats.busy + stats.idle) + 2  # and the lifeline of all
    assert opened() <= at_first


def opened() -> int:
    """How many descriptors this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))
