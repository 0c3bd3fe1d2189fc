"""The contract of sandboxes, kept by jails; and that a worker whose jail does not hold does not serve."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import fields, replace
from pathlib import Path

import pytest
from turnout.errors import BackendError
from turnout.interfaces.sandbox import Failure, Isolation, Limits
from turnout.testing.sandbox import SandboxContract, bundle_of, job
from turnout_ecs.jail.launcher import ALL_LAYERS, Layers
from turnout_ecs.jail.options import ChrootOptions
from turnout_ecs.jail.sandbox import ChrootSandbox


@pytest.fixture
async def sandbox(jail: Path) -> AsyncIterator[ChrootSandbox]:
    sandbox = ChrootSandbox(ChrootOptions(jail=jail))
    await sandbox.start()
    yield sandbox
    await sandbox.close()


class TestChrootSandbox(SandboxContract):
    @pytest.fixture
    async def sandbox(self, sandbox: ChrootSandbox) -> ChrootSandbox:
        return sandbox


def test_it_isolates_all_there_is_to_isolate() -> None:
    assert ChrootSandbox.isolates == frozenset(Isolation)


@pytest.mark.parametrize("layer", [field.name for field in fields(Layers) if field.name != "no_new_privs"])
async def test_the_self_test_finds_the_layer_that_is_missing(jail: Path, layer: str) -> None:
    sandbox = ChrootSandbox(ChrootOptions(jail=jail), layers=replace(ALL_LAYERS, **{layer: False}))

    with pytest.raises(BackendError, match=f"does not hold customers' code[^$]*\n{layer}: "):
        await sandbox.start()
    await sandbox.close()


async def test_the_self_test_finds_a_jail_that_is_not_sealed(jail: Path) -> None:
    sandbox = ChrootSandbox(ChrootOptions(jail=jail), sealed=False)

    with pytest.raises(BackendError, match="seal: a file of the jail was opened"):
        await sandbox.start()
    await sandbox.close()


async def test_filters_without_no_new_privs_are_refused(jail: Path) -> None:
    """By the kernel, to a user; and what root keeps for want of SETPCAP is seen, where it is tried as root."""
    sandbox = ChrootSandbox(ChrootOptions(jail=jail), layers=replace(ALL_LAYERS, no_new_privs=False))

    with pytest.raises(BackendError, match=r"status 125|CapPrm"):
        await sandbox.start()
    await sandbox.close()


async def test_code_that_uses_up_the_processor_time_of_its_jail_is_told_so(jail: Path, tmp_path: Path) -> None:
    sandbox = ChrootSandbox(ChrootOptions(jail=jail, cpu_s=1))
    await sandbox.start()
    handle = await sandbox.acquire(
        "acme", bundle_of(tmp_path, {"main.mjs": "export default () => { for (;;); }"}), Limits()
    )

    outcome = await handle.run(job("main.mjs"))
    await handle.release()
    await sandbox.close()

    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.message) == ("timeout", "the code used up the processor time of its sandbox")
