"""Cgroups of the machine's own kernel: what they stop, that nothing of them is left, and jails in them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from turnout.interfaces.sandbox import Failure, Limits, Outcome, Success
from turnout.sandbox.bundle_files import OverChannel
from turnout.sandbox.conversation import Conversation
from turnout.sandbox.launch import Launch
from turnout.sandbox.lifeline import Lifeline
from turnout.sandbox.process import NodeProcess
from turnout.testing.sandbox import bundle_of, job
from turnout_ecs.jail.bubblewrap import BubblewrapSandbox
from turnout_ecs.jail.cgroup import Allowed, Cgroups
from turnout_ecs.jail.cgroup_places import CgroupFiles, Hierarchy, hierarchies
from turnout_ecs.jail.launcher import ALL_LAYERS
from turnout_ecs.jail.options import BubblewrapOptions, ChrootOptions
from turnout_ecs.jail.sandbox import ChrootSandbox, JailSandbox
from turnout_ecs.jail.tree import find

MB = 1024 * 1024
AMPLE = Allowed(memory_bytes=1024 * MB, processes=64)
SOON_S = 10
V2 = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))

pytestmark = [
    pytest.mark.withheld("cgroups"),
    pytest.mark.may_skip(
        "whether a supervisor may make cgroups is the machine's to say; a copy of the kernel's rules is not"
    ),
]


@pytest.fixture(scope="module")
def places() -> Sequence[Hierarchy]:
    found = hierarchies(CgroupFiles())
    if not found:
        pytest.skip("no cgroups can be made here: have the tests run by a unit with Delegate=yes")
    return found


@pytest.fixture
def cgroups(places: Sequence[Hierarchy]) -> Iterator[Cgroups]:
    cgroups = Cgroups(places)
    yield cgroups
    cgroups.close()
    assert not left(places)


def left(places: Sequence[Hierarchy]) -> list[Path]:
    """Cgroups of supervisors that are no more; those of others' running tests are no concern of these."""
    made = [directory for place in places for directory in place.base.glob("turnout-jails-*")]
    return [directory for directory in made if not _is_locked(directory)]


def _is_locked(directory: Path) -> bool:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


async def ended(code: str, allowed: Allowed, cgroups: Cgroups) -> tuple[subprocess.CompletedProcess[str], bool]:
    """What Python says that runs this code in a cgroup, and whether it is said to have been killed for its memory."""
    process = subprocess.Popen(
        [sys.executable, "-Sc", f"input()\n{code}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    cgroup = cgroups.enter(process.pid, allowed)
    assert await cgroup.entered()
    said, _ = process.communicate("\n", timeout=SOON_S)
    return subprocess.CompletedProcess([], process.returncode, said), cgroup.leave()


HOLD = "held = bytearray(96 << 20); print('held', end='')"
THREADS = """
import threading
go = threading.Event()
for started in range(9):
    try: threading.Thread(target=go.wait).start()
    except RuntimeError: break
go.set()
print(started, end='')
"""


async def test_more_memory_than_allowed_is_death(cgroups: Cgroups) -> None:
    ample, killed_amply = await ended(HOLD, AMPLE, cgroups)
    tight, killed = await ended(HOLD, Allowed(memory_bytes=64 * MB, processes=64), cgroups)

    assert (ample.stdout, ample.returncode, killed_amply) == ("held", 0, False)
    assert (tight.stdout, tight.returncode, killed) == ("", -signal.SIGKILL, True)


async def test_more_threads_than_allowed_are_not_started(cgroups: Cgroups) -> None:
    ample, _ = await ended(THREADS, AMPLE, cgroups)
    tight, _ = await ended(THREADS, Allowed(memory_bytes=1024 * MB, processes=4), cgroups)

    assert (ample.stdout, tight.stdout) == ("8", "3")


async def test_being_killed_by_somebody_is_no_want_of_memory(cgroups: Cgroups) -> None:
    process, for_memory = await ended("import os; os.kill(os.getpid(), 9)", AMPLE, cgroups)

    assert process.returncode == -signal.SIGKILL
    assert not for_memory


SUPERVISOR = """
import asyncio, subprocess, sys, time
from turnout_ecs.jail.cgroup import Allowed, Cgroups
cgroups = Cgroups.find()
jailed = subprocess.Popen(["sleep", "1000"])
cgroup = cgroups.enter(jailed.pid, Allowed(memory_bytes=1 << 30, processes=64))
asyncio.run(cgroup.entered())
print(jailed.pid, flush=True)
time.sleep(1000)
"""


def test_the_next_supervisor_removes_what_a_killed_one_left(places: Sequence[Hierarchy]) -> None:
    with subprocess.Popen([sys.executable, "-c", SUPERVISOR], stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        jailed = int(supervisor.stdout.readline())
        supervisor.kill()
    directory = cgroup_of(jailed, places[0])
    pidfd = os.pidfd_open(jailed)
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    select.select([pidfd], [], [], SOON_S)
    os.close(pidfd)

    Cgroups(places).close()

    assert directory.parent.parent == places[0].base
    assert not directory.parent.exists()


async def test_a_process_is_moved_in_a_hierarchy_of_v2() -> None:
    """One without memory and pids is to be had on machines where those are in v1."""
    own = [line[4:] for line in Path("/proc/self/cgroup").read_text().split() if line.startswith("0::/")]
    base = next((at for top in V2 for at in (top / one for one in own) if (at / "cgroup.procs").exists()), None)
    if base is None or not os.access(base, os.W_OK):
        pytest.skip("no cgroup v2 can be written to")
    v2 = Hierarchy(base=base, bounds=(), deaths="cgroup.events")
    cgroups = Cgroups([v2])

    told, _ = await ended("print(open('/proc/self/cgroup').read())", AMPLE, cgroups)
    cgroups.close()

    assert "/turnout-jails-" in told.stdout.partition("0::")[2]
    assert not left([v2])


def cgroup_of(pid: int, place: Hierarchy) -> Path:
    inside = [
        file for file in place.base.glob("turnout-jails-*/*/cgroup.procs") if str(pid) in file.read_text().split()
    ]
    (found,) = inside
    return found.parent


@pytest.fixture(params=["chroot", "bubblewrap"])
async def sandbox(
    request: pytest.FixtureRequest, jail: Path, places: Sequence[Hierarchy]
) -> AsyncIterator[JailSandbox]:
    made: dict[str, JailSandbox] = {
        "chroot": ChrootSandbox(ChrootOptions(jail=jail, warm_floor=1)),
        "bubblewrap": BubblewrapSandbox(BubblewrapOptions(jail=jail, warm_floor=1)),
    }
    sandbox = made[request.param]
    await sandbox.start()
    yield sandbox
    await sandbox.close()
    assert not left(places)


async def test_a_jail_is_in_a_cgroup_of_its_own_and_its_receipt_says_so(
    sandbox: JailSandbox, places: Sequence[Hierarchy], tmp_path: Path
) -> None:
    handle = await sandbox.acquire("acme", bundle_of(tmp_path, {"main.mjs": "export default () => 1"}), Limits())
    receipt = handle.receipt()
    made = [cgroup_of(pid, place) for place in places for pid in pids_of(receipt.uid)]
    bounds = [
        (made / bound.file).read_text().strip()
        for made, place in zip(made, places, strict=True)
        for bound in place.bounds
    ]

    outcome = await handle.run(job("main.mjs"))
    await handle.release()

    assert isinstance(outcome, Success)
    assert receipt.layers[-1] == "cgroup"
    assert {"32"} < set(bounds) <= {"32", "0", str(Limits().memory_bytes + (192 + 64) * MB)}


async def test_switched_off_there_is_none(jail: Path, tmp_path: Path) -> None:
    sandbox = ChrootSandbox(ChrootOptions(jail=jail, warm_floor=1, cgroup="off"))
    await sandbox.start()
    handle = await sandbox.acquire("acme", bundle_of(tmp_path, {"main.mjs": "export default () => 1"}), Limits())
    receipt = handle.receipt()
    await handle.release()
    await sandbox.close()

    assert "cgroup" not in receipt.layers


HOLD_MUCH = "export default () => Array.from({ length: 12 }, () => Buffer.alloc(40 << 20, 1)).length"


async def test_a_jail_without_rlimits_ends_for_memory_by_its_cgroup(
    sandbox: JailSandbox, jail: Path, tmp_path: Path
) -> None:
    whole = sandbox.setting(find(jail))
    setting = replace(whole, layers=replace(ALL_LAYERS, rlimits=False))

    ended = await outcome_in(sandbox.jailed(setting), tmp_path)
    control = await outcome_in(sandbox.jailed(replace(setting, cgroups=None)), tmp_path)

    assert isinstance(control, Success)
    assert isinstance(ended, Failure)
    assert (ended.kind, ended.message) == ("memory", "the code needed more than the 64 MB that it may use")


async def outcome_in(launch: Launch, directory: Path) -> Outcome:
    lifeline = Lifeline()
    process = await NodeProcess.start(Limits(memory_bytes=64 * MB), lifeline, launch, OverChannel())
    try:
        bundle = bundle_of(directory, {"main.mjs": HOLD_MUCH})
        return await Conversation(process, bundle, job("main.mjs"), mapped=False).run()
    finally:
        await process.end()
        lifeline.close()


def pids_of(uid: int) -> Sequence[int]:
    """Of the processes of one user, those that run his code: bubblewrap's own has the name of its program."""
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and f"\nUid:\t{uid}\t" in (process / "status").read_text():
                found.append(int(process.name))
    return [pid for pid in found if "bwrap" not in Path(f"/proc/{pid}/comm").read_text()]
