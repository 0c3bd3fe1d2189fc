"""The contract of sandboxes, kept by jails in namespaces, and what is there beside the contract."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from turnout.errors import BackendError
from turnout.interfaces.sandbox import Isolation, Limits, Success
from turnout.testing.sandbox import SandboxContract, bundle_of, job
from turnout_ecs.jail.bubblewrap import BubblewrapSandbox
from turnout_ecs.jail.launcher import ALL_LAYERS
from turnout_ecs.jail.options import BubblewrapOptions

pytestmark = pytest.mark.withheld("namespaces")


@pytest.fixture(scope="session")
def program() -> None:
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not here: install the package bubblewrap")


@pytest.fixture
async def sandbox(jail: Path, program: None) -> AsyncIterator[BubblewrapSandbox]:
    sandbox = BubblewrapSandbox(BubblewrapOptions(jail=jail))
    await sandbox.start()
    yield sandbox
    await sandbox.close()


class TestBubblewrapSandbox(SandboxContract):
    @pytest.fixture
    async def sandbox(self, sandbox: BubblewrapSandbox) -> BubblewrapSandbox:
        return sandbox


def test_it_isolates_all_there_is_to_isolate() -> None:
    assert BubblewrapSandbox.isolates == frozenset(Isolation)


@pytest.mark.usefixtures("program")
@pytest.mark.parametrize("layer", ["rlimits", "seccomp"])
async def test_the_self_test_finds_the_layer_that_is_missing(jail: Path, layer: str) -> None:
    sandbox = BubblewrapSandbox(BubblewrapOptions(jail=jail), layers=replace(ALL_LAYERS, **{layer: False}))

    with pytest.raises(BackendError, match=f"does not hold customers' code[^$]*\n{layer}: "):
        await sandbox.start()
    await sandbox.close()


async def test_the_code_is_alone_in_its_namespaces(sandbox: BubblewrapSandbox, tmp_path: Path) -> None:
    handle = await sandbox.acquire(
        "acme", bundle_of(tmp_path, {"main.mjs": "export default () => process.pid"}), Limits()
    )

    outcome = await handle.run(job("main.mjs"))
    process = handle._process  # type: ignore[attr-defined]  # what stands around it is seen from outside alone
    theirs = {path.name: str(path.readlink()) for path in Path(f"/proc/{process.worker}/ns").iterdir()}
    ours = {path.name: str(path.readlink()) for path in Path("/proc/self/ns").iterdir()}
    await handle.release()

    assert isinstance(outcome, Success)
    assert outcome.output.json == b"1"
    assert {name for name in ("user", "net", "pid", "ipc", "uts", "mnt") if theirs[name] == ours[name]} == set()


async def test_nothing_is_left_of_a_jail_that_was_released(sandbox: BubblewrapSandbox, tmp_path: Path) -> None:
    handle = await sandbox.acquire("acme", bundle_of(tmp_path, {"main.mjs": "export default () => 1"}), Limits())
    process = handle._process  # type: ignore[attr-defined]
    worker = process.worker
    uid = handle.receipt().uid

    await handle.release()

    assert not Path(f"/proc/{worker}").exists()
    assert uid not in {path.stat().st_uid for path in Path("/proc").glob("[0-9]*")}


async def test_who_gets_the_number_of_the_code_s_process_after_it_is_not_killed(
    sandbox: BubblewrapSandbox, tmp_path: Path
) -> None:
    """It has ended by itself, and the other process has its number, before the jail is told to end."""
    handle = await sandbox.acquire("acme", bundle_of(tmp_path, {"main.mjs": "export default () => 1"}), Limits())
    process = handle._process  # type: ignore[attr-defined]
    launch, worker = process.launch, process.worker
    with subprocess.Popen(["/bin/sleep", "60"]) as stranger:
        launch._inner = stranger.pid
        launch.kill(process._pid)
        async with asyncio.timeout(10):
            await process.exited

        assert stranger.poll() is None
        assert not Path(f"/proc/{worker}").exists()
        stranger.kill()
    await handle.release()


async def test_a_machine_without_the_program_is_told_what_to_install(jail: Path) -> None:
    sandbox = BubblewrapSandbox(BubblewrapOptions(jail=jail, program="bwrap-that-is-not-there"))

    with pytest.raises(
        BackendError, match=r"install the package bubblewrap, or name it in backends\.bubblewrap\.program"
    ):
        await sandbox.start()
