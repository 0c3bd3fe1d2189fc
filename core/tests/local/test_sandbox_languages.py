"""What the sandbox of a project cannot run is refused when an integration is deployed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from turnout.config import RunnerSettings, Settings
from turnout.errors import SettingsError, Unsupported
from turnout.hookspecs import hookimpl
from turnout.interfaces.sandbox import Limits, Sandbox
from turnout.local.bundles import Bundle, BundleStore
from turnout.local.platform import Platform
from turnout.local.process_sandbox import ProcessSandbox
from turnout.model.definition import CodeStep, Flow, Integration
from turnout.plugins import load_plugins
from turnout.testing.python_sandbox import python_bundle


class JavaScriptAlone(ProcessSandbox):
    languages: ClassVar[frozenset[str]] = frozenset({"javascript"})


class Closed(ProcessSandbox):
    loads_native: ClassVar[bool] = False


class Extra:
    @hookimpl
    def turnout_sandboxes(self) -> Mapping[str, type[Sandbox]]:
        return {"javascript-alone": JavaScriptAlone, "closed": Closed}


def integration() -> Integration:
    step = CodeStep(id="add", source="def main(i, c): return 1", language="python")
    return Integration(name="x", flows={"f": Flow(name="f", steps=(step,))})


async def opened(tmp_path: Path, sandbox: str) -> Platform:
    settings = Settings(root=tmp_path, runner=RunnerSettings(sandbox=sandbox))
    return await Platform.open(settings, load_plugins(extra=[Extra()]))


async def test_a_language_that_the_sandbox_does_not_run_is_refused(tmp_path: Path) -> None:
    platform = await opened(tmp_path, "javascript-alone")

    with pytest.raises(SettingsError, match="step 'add' of flow 'f' of 'x' is in python") as caught:
        await platform.deploy(integration(), config={}, connections={})

    assert caught.value.setting == "runner.sandbox"
    await platform.close()


async def test_a_language_that_it_runs_is_deployed(tmp_path: Path) -> None:
    platform = await opened(tmp_path, "process")

    instance = await platform.deploy(integration(), config={}, connections={})

    assert instance.integration == integration()
    await platform.close()


async def test_native_packages_are_refused_where_nothing_can_load_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = BundleStore.build

    async def with_native(store: BundleStore, integration: Integration) -> Bundle:
        bundle = await build(store, integration)
        return replace(bundle, code=replace(bundle.code, native=("numpy",)))

    monkeypatch.setattr(BundleStore, "build", with_native)
    closed, open_ = await opened(tmp_path / "a", "closed"), await opened(tmp_path / "b", "process")

    with pytest.raises(SettingsError, match="numpy of 'x' have extension modules"):
        await closed.deploy(integration(), config={}, connections={})
    await open_.deploy(integration(), config={}, connections={})

    await closed.close()
    await open_.close()


async def test_a_sandbox_refuses_a_bundle_of_another_language(tmp_path: Path) -> None:
    sandbox = JavaScriptAlone(warm_floor=0)

    with pytest.raises(Unsupported, match="code in python"):
        await sandbox.acquire("acme", python_bundle(tmp_path, "def main(): ..."), Limits())
    await sandbox.close()
