"""The project's instances as commands that serve it have them: one of each integration's own name, from its files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from turnout.cli.definitions import checked, deploy
from turnout.cli.inputs import RunInputs
from turnout.definition import find_integrations
from turnout.errors import NotFound, SettingsError, TurnoutError, UserError
from turnout.local.platform import Platform
from turnout.services.customers import LOCAL_TENANT
from turnout.services.instance_documents import InstanceState
from turnout.services.submission import Instance

__all__ = ["DeployedInstances", "ProjectInstances", "deployed_instances", "hooks", "instance_lines"]

_SHOWN = 10
_IGNORED = frozenset({".turnout", "node_modules", ".git", "__pycache__", ".venv"})


class ProjectInstances:
    """Deploys what is below `path`. `tell` is called with the name and the text of what people should know: `error`,
    `reloaded`, `withdrawn`."""

    def __init__(self, path: Path, inputs: RunInputs, tell: Callable[[str, str], None]) -> None:
        self._path = path
        self._inputs = inputs
        self._tell = tell
        self._by_file: dict[Path, str] = {}

    async def deploy_all(self, platform: Platform) -> None:
        """Deploy every integration. A broken one among good ones is told and left out; it may be mended while serving."""
        files = find_integrations(self._path)
        broken: list[TurnoutError] = []
        declared: set[str] = set()
        for file in files:
            try:
                declared |= await self._deploy(platform, file)
            except TurnoutError as error:
                broken.append(error)
        if broken and len(broken) == len(files):
            raise broken[0]
        for fault in broken:
            self._tell("error", str(fault))
        given = {*self._inputs.config, *self._inputs.connections}
        if not broken and given - declared:
            name = sorted(given - declared)[0]
            raise SettingsError(
                f"no integration of the project has a config variable or connection {name!r}", setting=name
            )

    async def _deploy(self, platform: Platform, file: Path) -> set[str]:
        """The names that the integration takes inputs by."""
        integration = checked(file, platform)
        other = next(
            (known for known, name in self._by_file.items() if name == integration.name and known != file), None
        )
        if other is not None:
            raise UserError(f"{file}: integration {integration.name!r} is defined in {other} already")
        await deploy(platform, integration, self._inputs, shared=True)
        self._by_file[file] = integration.name
        return {*integration.config, *integration.connections}

    async def reload(self, platform: Platform) -> None:
        """Deploy again what has changed; a version that does not hold leaves the one before in place."""
        from watchfiles import awatch

        def wanted(_: object, changed: str) -> bool:
            return not _IGNORED.intersection(Path(changed).parts)

        async for _ in awatch(self._path, watch_filter=wanted, step=100, debounce=400):
            try:
                files = find_integrations(self._path)
            except TurnoutError as error:
                self._tell("error", f"not reloaded, the versions before stay: {error}")
                continue
            for gone in set(self._by_file) - set(files):
                self._withdraw(platform, gone)
            for file in files:
                await self._reload_one(platform, file)

    async def _reload_one(self, platform: Platform, file: Path) -> None:
        name, before = self._by_file.get(file), await self._bundle(platform, file)
        try:
            await self._deploy(platform, file)
        except TurnoutError as error:
            self._tell("error", f"not reloaded, the version before stays: {error}")
            return
        if name is not None and name != self._by_file[file]:
            platform.instances.withdraw(name)
        if await self._bundle(platform, file) != before:
            self._tell("reloaded", f"reloaded {self._by_file[file]} from {file}")

    def _withdraw(self, platform: Platform, file: Path) -> None:
        name = self._by_file.pop(file)
        platform.instances.withdraw(name)
        self._tell("withdrawn", f"withdrew {name}: {file} is gone; what runs of it goes on")

    async def _bundle(self, platform: Platform, file: Path) -> str:
        name = self._by_file.get(file)
        return "" if name is None else (await platform.instances.get(name)).bundle


def hooks(instance: Instance, url: str) -> list[str]:
    """Where each flow that a request starts takes it."""
    flows = instance.integration.flows.values()
    return [f"{url}/hooks/{_path(instance)}/{flow.name}" for flow in flows if flow.trigger.by_request]


def instance_lines(instance: Instance, url: str) -> list[str]:
    """For people: its name and version, and what starts each of its flows."""
    scheduled = [flow.name for flow in instance.integration.flows.values() if flow.trigger.type == "schedule"]
    polled = [flow.name for flow in instance.integration.flows.values() if flow.trigger.every_s is not None]
    return [
        f"{_path(instance)} {instance.integration.version}",
        *(f"  POST {hook}" for hook in hooks(instance, url)),
        *(f"  flow {name} is started by its schedule" for name in scheduled),
        *(f"  flow {name} is started by what its polls find" for name in polled),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedInstances:
    """Instances of customers that take something in: the first of them, and how many `more` there are."""

    shown: Sequence[Instance] = ()
    more: int = 0


async def deployed_instances(platform: Platform) -> DeployedInstances:
    """Those of the customers, by name. One whose version is not here is counted alone."""
    deployments, shown, count = platform.tenants.deployments, list[Instance](), 0
    async for deployment in deployments.all():
        if deployment.deployed.state is not InstanceState.ACTIVE:
            continue
        count += 1
        if len(shown) < _SHOWN:
            with contextlib.suppress(NotFound):
                shown.append(await deployments.instance_of(deployment))
    return DeployedInstances(shown=shown, more=count - len(shown))


def _path(instance: Instance) -> str:
    """Its part of an address: that of a customer has the customer before it."""
    return instance.name if instance.tenant == LOCAL_TENANT else f"{instance.tenant}/{instance.name}"
