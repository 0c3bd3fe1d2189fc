"""Code of several customers runs only where the sandbox keeps them apart, or where somebody said that it need not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from turnout.config import RunnerSettings, Settings
from turnout.definition.loader import load_yaml_text
from turnout.errors import SettingsError
from turnout.hookspecs import hookimpl
from turnout.interfaces.sandbox import Isolation, Sandbox
from turnout.local.platform import Platform
from turnout.local.process_sandbox import ProcessSandbox
from turnout.local.tenancy import Tenancy
from turnout.model.execution import ExecutionRecord, Status
from turnout.plugins import load_plugins
from turnout.services.submission import Instance
from turnout.values import Value

CODE = """\
integration: code
flows: {main: {steps: [{id: go, code: export default () => 1}]}}
"""
NO_CODE = """\
integration: none
flows: {main: {steps: [{id: end, stop: {output: 1}}]}}
"""


class Isolating(ProcessSandbox):
    isolates = frozenset(Isolation)


class HalfIsolating(ProcessSandbox):
    isolates = frozenset(Isolation) - {Isolation.MEMORY}


class Extra:
    @hookimpl
    def turnout_sandboxes(self) -> Mapping[str, type[Sandbox]]:
        return {"isolating": Isolating, "half": HalfIsolating}


@asynccontextmanager
async def platform_in(directory: Path, sandbox: str = "process", *, allowed: bool = False) -> AsyncIterator[Platform]:
    runner = RunnerSettings(sandbox=sandbox, allow_unsafe_sandbox=allowed)
    settings = Settings(root=directory, runner=runner, backends={sandbox: {"warm_floor": 0, "warm_ceiling": 1}})
    platform = await Platform.open(settings, load_plugins(extra=[Extra()]))
    try:
        yield platform
    finally:
        await platform.close()


async def deployed(platform: Platform, text: str, tenant: str) -> Instance:
    return await platform.deploy(
        load_yaml_text(text), config={}, connections={}, tenant=tenant, name=f"{text[13:17]}-{tenant}"
    )


async def ran(platform: Platform, instance: Instance) -> ExecutionRecord:
    record = await platform.record(await platform.run(instance, "main", Value({})))
    assert record is not None
    return record


@pytest.mark.parametrize("texts", [(CODE, CODE), (NO_CODE, CODE), (CODE, NO_CODE)])
async def test_the_second_customers_instance_is_refused_where_anybody_has_code(
    tmp_path: Path, texts: tuple[str, str]
) -> None:
    async with platform_in(tmp_path) as platform:
        first = await deployed(platform, texts[0], "acme")

        with pytest.raises(SettingsError) as caught:
            await deployed(platform, texts[1], "globex")

        assert platform.instances.all() == (first,)
    assert caught.value.setting == "runner.sandbox"
    for said in ("'acme', 'globex'", "'process'", "filesystem, network, processes, memory", "chroot", "allow_unsafe"):
        assert said in str(caught.value)


async def test_customers_without_code_are_not_kept_apart_by_a_sandbox(tmp_path: Path) -> None:
    async with platform_in(tmp_path) as platform:
        await deployed(platform, NO_CODE, "acme")
        await deployed(platform, NO_CODE, "globex")
        await platform.check_tenancy()

        assert len(platform.instances.all()) == 2


async def test_an_instance_that_takes_another_ones_place_counts_and_the_other_does_not(tmp_path: Path) -> None:
    async with platform_in(tmp_path) as platform:
        first = await deployed(platform, CODE, "acme")

        platform.instances.deploy(replace(first, tenant="globex"))
        with pytest.raises(SettingsError):
            await deployed(platform, CODE, "acme2")
        platform.instances.withdraw(first.name)
        await deployed(platform, CODE, "acme2")


@pytest.mark.parametrize("way", [{"allowed": True}, {"sandbox": "isolating"}])
async def test_a_sandbox_that_isolates_and_one_that_is_allowed_run_everybodys_code(
    tmp_path: Path, way: dict[str, Any]
) -> None:
    async with platform_in(tmp_path, **way) as platform:
        records = [await ran(platform, await deployed(platform, CODE, tenant)) for tenant in ("acme", "globex")]
        await platform.check_tenancy()

    assert [record.status for record in records] == [Status.SUCCEEDED] * 2


async def test_what_is_missing_is_named(tmp_path: Path) -> None:
    async with platform_in(tmp_path, "half") as platform:
        await deployed(platform, CODE, "acme")

        with pytest.raises(SettingsError, match="does not isolate memory:"):
            await deployed(platform, CODE, "globex")


async def test_a_worker_does_not_start_where_several_customers_had_code(tmp_path: Path) -> None:
    async with platform_in(tmp_path, allowed=True) as platform:
        for tenant in ("acme", "globex"):
            await ran(platform, await deployed(platform, CODE, tenant))

    async with platform_in(tmp_path) as platform:
        with pytest.raises(SettingsError, match=r"runner\.sandbox: .*'acme', 'globex'"):
            await platform.check_tenancy()


async def test_a_worker_runs_no_second_customers_code_whoever_deployed_it(tmp_path: Path) -> None:
    async with platform_in(tmp_path) as platform:
        first = await deployed(platform, CODE, "acme")
        assert (await ran(platform, first)).status is Status.SUCCEEDED

    async with platform_in(tmp_path) as platform:  # another process, which knows of no instance
        settings = await platform.instance_settings.save("globex", {}, {})
        refused = await ran(platform, replace(first, tenant="globex", settings=settings))
        again = await ran(platform, first)

    assert refused.error is not None
    assert refused.error.kind == "sandbox"
    assert "--allow-unsafe-sandbox" in refused.error.message
    assert "code-customer" in refused.error.message
    assert refused.sandboxes == ()
    assert again.status is Status.SUCCEEDED


async def test_of_two_processes_that_begin_at_once_one_customer_is_first(tmp_path: Path) -> None:
    sandbox = ProcessSandbox()
    one, other = (Tenancy(sandbox, "process", tmp_path) for _ in range(2))

    one.admit("acme")
    with pytest.raises(SettingsError):
        other.admit("globex")
    other.admit("acme")

    assert [path.name for path in tmp_path.iterdir()] == ["code-customer"]
    await sandbox.close()
