"""`turnout dev`."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

import click

from turnout.cli.definitions import checked, deploy
from turnout.cli.durability import durability_lines
from turnout.cli.faults import printable
from turnout.cli.inputs import RunInputs, input_options, read_inputs
from turnout.cli.options import environment_option, json_option
from turnout.cli.project import load_project
from turnout.cli.session import platform_of, run_async
from turnout.config import Settings
from turnout.definition import find_integrations
from turnout.errors import SettingsError, TurnoutError, UserError
from turnout.local.http import url_of
from turnout.local.platform import Platform
from turnout.local.target import LocalTarget
from turnout.model.events import Ended, Event
from turnout.services.submission import Instance

__all__ = ["command"]

_IGNORED = frozenset({".turnout", "node_modules", ".git", "__pycache__", ".venv"})


@click.command("dev")
@click.argument("path", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--port", default=8400, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@input_options
@json_option
@environment_option
def command(
    *,
    path: Path | None,
    port: int,
    host: str,
    config_file: Path | None,
    assignments: Sequence[str],
    connections_file: Path | None,
    as_json: bool,
    environment: str | None,
) -> int:
    """Serve the project on this machine: webhooks, the runner, records; definitions are reloaded as they change.

    Each integration has an instance of its own name: `POST /hooks/<instance>/<flow>` starts a flow. What a dead process
    left behind goes on.
    """
    settings = load_project(path, environment=environment)
    inputs = read_inputs(config_file, assignments, connections_file)
    serving = _Dev(settings, path or settings.root, inputs, as_json=as_json)
    return run_async(serving.run(host, port))


class _Dev:
    def __init__(self, settings: Settings, path: Path, inputs: RunInputs, *, as_json: bool) -> None:
        self._settings = settings
        self._path = path
        self._inputs = inputs
        self._as_json = as_json
        self._by_file: dict[Path, str] = {}

    async def run(self, host: str, port: int) -> int:
        async with platform_of(self._settings, observers=(self._watch,)) as platform:
            await self._deploy_all(platform)
            sandbox = await platform.start_sandbox()
            recovered = await platform.recover()
            reloading = asyncio.ensure_future(self._reload(platform))

            def bound(port: int) -> None:
                platform.callbacks.base_url = url_of(host, port)

            def ready(port: int) -> None:
                self._ready(platform, url_of(host, port), sandbox, recovered)

            try:
                target = LocalTarget(request_bytes=self._settings.limits.request_bytes)
                await target.serve(platform.services(), host=host, port=port, bound=bound, ready=ready)
            finally:
                reloading.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await reloading
        return 0

    async def _deploy_all(self, platform: Platform) -> None:
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

    async def _reload(self, platform: Platform) -> None:
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

    def _watch(self, execution: str, event: Event) -> None:
        if isinstance(event, Ended):
            why = f": {event.error.message}" if event.error else ""
            self._tell("execution", f"{execution} {event.status.value}{why}")

    def _ready(self, platform: Platform, url: str, sandbox: Sequence[str], recovered: int) -> None:
        instances = platform.instances.all()
        if self._as_json:
            hooks = [hook for instance in instances for hook in _hooks(instance, url)]
            click.echo(json.dumps({"event": "ready", "url": url, "hooks": hooks, "recovered": recovered}))
            return
        for line in (
            *sandbox,
            *durability_lines(platform),
        ):
            click.echo(line)
        if recovered:
            click.echo(f"going on with {recovered} executions that were left behind")
        for instance in instances:
            click.echo(printable(f"{instance.name} {instance.integration.version}"))
            for hook in _hooks(instance, url):
                click.echo(printable(f"  POST {hook}"))
            for flow in _scheduled(instance):
                click.echo(
                    printable(f"  flow {flow} has a schedule: it is not started by itself, no scheduler runs yet")
                )
        click.echo(f"serving on {url} (Ctrl-C stops)")

    def _tell(self, event: str, text: str) -> None:
        if self._as_json:
            click.echo(json.dumps({"event": event, "message": text}))
        else:
            click.echo(printable(text), err=event == "error")


def _hooks(instance: Instance, url: str) -> list[str]:
    flows = instance.integration.flows.values()
    return [
        f"{url}/hooks/{instance.name}/{flow.name}" for flow in flows if flow.trigger.type not in ("call", "schedule")
    ]


def _scheduled(instance: Instance) -> list[str]:
    return [flow.name for flow in instance.integration.flows.values() if flow.trigger.type == "schedule"]
