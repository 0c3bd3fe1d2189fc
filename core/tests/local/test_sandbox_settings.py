"""`[runner] sandbox` and `[backends.<name>]` choose and open the sandbox: what is wrong is told with the setting's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from turnout.config import LimitSettings, RunnerSettings, Settings
from turnout.definition.loader import load_yaml_text
from turnout.errors import SettingsError
from turnout.hookspecs import hookimpl
from turnout.interfaces.sandbox import CodeBundle, Limits, Sandbox, SandboxHandle
from turnout.local.platform import Platform
from turnout.local.process_sandbox import ProcessSandbox
from turnout.plugins import load_plugins
from turnout.services.submission import Instance


class Unopened(Sandbox):
    """One that never learned to be opened."""

    isolates = frozenset()
    languages = frozenset({"javascript"})

    async def start(self) -> Sequence[str]:
        return ()

    async def acquire(self, tenant: str, bundle: CodeBundle, limits: Limits) -> SandboxHandle:
        raise NotImplementedError

    async def close(self) -> None:
        """Nothing to close."""


class Extra:
    @hookimpl
    def turnout_sandboxes(self) -> Mapping[str, type[Sandbox]]:
        return {"unopened": Unopened}


async def opened(tmp_path: Path, sandbox: str, **options: Any) -> Platform:
    settings = Settings(root=tmp_path, runner=RunnerSettings(sandbox=sandbox), backends={sandbox: options})
    return await Platform.open(settings, load_plugins(extra=[Extra()]))


async def test_the_process_sandbox_takes_its_sizes_from_its_table(tmp_path: Path) -> None:
    platform = await opened(tmp_path, "process", warm_floor=0, warm_ceiling=1, max_processes=3)

    sandbox = platform.backends.sandbox
    assert isinstance(sandbox, ProcessSandbox)
    assert (sandbox._sizes.floor, sandbox._sizes.ceiling, sandbox._sizes.running) == (0, 1, 3)
    await platform.close()


async def test_code_is_run_within_the_limits_of_the_settings(tmp_path: Path) -> None:
    limits = LimitSettings(memory_bytes=1, result_bytes=2, log_bytes=3, files=4, files_bytes=5)
    platform = await Platform.open(Settings(root=tmp_path, limits=limits), load_plugins())

    found = platform.backends.settings.limits
    await platform.close()

    assert found == Limits(memory_bytes=1, result_bytes=2, log_bytes=3, files=4, files_bytes=5)


@pytest.mark.parametrize(
    ("sandbox", "options", "setting", "says"),
    [
        ("proces", {}, "runner.sandbox", "did you mean 'process'?"),
        ("process", {"warm_flor": 1}, "backends.process.warm_flor", "did you mean 'warm_floor'?"),
        ("process", {"max_processes": 0}, "backends.process.max_processes", "greater than or equal to 1"),
        ("unopened", {}, "runner.sandbox", "'unopened' cannot be chosen"),
    ],
)
async def test_a_wrong_name_or_option_is_told_with_its_setting(
    tmp_path: Path, sandbox: str, options: dict[str, Any], setting: str, says: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        await opened(tmp_path, sandbox, **options)

    assert caught.value.setting == setting
    assert str(caught.value).startswith(setting)
    assert says in str(caught.value)


CODE = """\
integration: i
config: {url: string}
connections: {erp: {connector: http, type: bearer}}
code: {hosts: ["${{ config.url }}"]}
flows:
  main:
    steps:
      - {id: go, code: export default () => 1, connections: [erp]}
"""


async def deployed(platform: Platform, text: str, **config: str) -> Instance:
    return await platform.deploy(load_yaml_text(text), config=config, connections={})


async def test_code_that_uses_credentials_is_refused_where_nothing_keeps_them_from_it(tmp_path: Path) -> None:
    platform = await opened(tmp_path, "process")

    with pytest.raises(SettingsError) as caught:
        await deployed(platform, CODE, url="https://a.example")

    assert caught.value.setting == "runner.sandbox"
    assert "step 'go' of flow 'main'" in str(caught.value)
    assert "the sandbox 'process' has nothing" in str(caught.value)
    await deployed(platform, CODE.replace(", connections: [erp]", ""), url="https://a.example")
    await platform.close()


async def test_a_config_value_that_gives_no_host_is_refused_at_deploy(tmp_path: Path) -> None:
    platform = await opened(tmp_path, "process")

    with pytest.raises(SettingsError, match=r"`code\.hosts`: \$\{\{ config\.url \}\}: it gives an address"):
        await deployed(platform, CODE.replace(", connections: [erp]", ""), url="http://10.0.0.1/")

    await platform.close()
