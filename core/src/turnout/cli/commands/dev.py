"""`turnout dev`."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from turnout.cli.durability import durability_lines
from turnout.cli.faults import printable
from turnout.cli.inputs import RunInputs, input_options, read_inputs
from turnout.cli.instances import DeployedInstances, ProjectInstances, deployed_instances, hooks, instance_lines
from turnout.cli.options import environment_option, json_option, unsafe_sandbox_option
from turnout.cli.project import load_project
from turnout.cli.serving import serve, tell
from turnout.cli.session import platform_of, run_async
from turnout.config import Authentication, Settings
from turnout.local.platform import Platform
from turnout.local.services import every_service
from turnout.model.events import Ended, Event
from turnout.services.api.access import is_loopback

__all__ = ["command"]


@click.command("dev")
@click.argument("path", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--port", default=8400, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@input_options
@unsafe_sandbox_option
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
    allow_unsafe_sandbox: bool,
    as_json: bool,
    environment: str | None,
) -> int:
    """Serve the project on this machine: webhooks, the runner, records; definitions are reloaded as they change.

    Each integration has an instance of its own name: `POST /hooks/<instance>/<flow>` starts a flow. What a dead process
    left behind goes on.
    """
    settings = load_project(path, environment=environment, allow_unsafe_sandbox=allow_unsafe_sandbox)
    inputs = read_inputs(config_file, assignments, connections_file)
    serving = _Dev(settings, path or settings.root, inputs, as_json=as_json)
    return run_async(serving.run(host, port))


def _open_here(settings: Settings, host: str) -> Settings:
    """What listens on this machine alone asks for no API key, unless the project says so."""
    if settings.api.authentication is not Authentication.OUTSIDE_DEV or not is_loopback(host):
        return settings
    return replace(settings, api=replace(settings.api, authentication=Authentication.NONE))


class _Dev:
    def __init__(self, settings: Settings, path: Path, inputs: RunInputs, *, as_json: bool) -> None:
        self._settings = settings
        self._as_json = as_json
        self._instances = ProjectInstances(path, inputs, self._tell)
        self._deployed = DeployedInstances()

    async def run(self, host: str, port: int) -> int:
        settings = _open_here(self._settings, host)
        async with platform_of(settings, observers=(self._watch,)) as platform:
            await platform.check_tenancy()  # as a worker does, which knows nothing of the project's own files
            await self._instances.deploy_all(platform)
            self._deployed = await deployed_instances(platform)
            sandbox = await platform.start_sandbox()
            recovered = await platform.recover()
            reloading = asyncio.ensure_future(self._instances.reload(platform))
            try:
                ready = partial(self._ready, platform, sandbox, recovered)
                await serve(platform, await every_service(platform), host=host, port=port, ready=ready)
            finally:
                reloading.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await reloading
        return 0

    def _watch(self, execution: str, event: Event) -> None:
        if isinstance(event, Ended):
            why = f": {event.error.message}" if event.error else ""
            self._tell("execution", f"{execution} {event.status.value}{why}")

    def _ready(self, platform: Platform, sandbox: Sequence[str], recovered: int, url: str) -> None:
        instances = [*platform.instances.all(), *self._deployed.shown]
        if self._as_json:
            found = [hook for instance in instances for hook in hooks(instance, url)]
            click.echo(json.dumps({"event": "ready", "url": url, "hooks": found, "recovered": recovered}))
            return
        for line in (*sandbox, *durability_lines(platform)):
            click.echo(line)
        if recovered:
            click.echo(f"going on with {recovered} executions that were left behind")
        for instance in instances:
            for line in instance_lines(instance, url):
                click.echo(printable(line))
        if self._deployed.more:
            click.echo(f"and {self._deployed.more} more instances of customers: `turnout instances list` shows them")
        click.echo(f"serving on {url} (Ctrl-C stops)")

    def _tell(self, event: str, text: str) -> None:
        tell(event, text, as_json=self._as_json)
