"""`turnout serve`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from turnout.cli.durability import durability_lines
from turnout.cli.faults import printable
from turnout.cli.inputs import RunInputs, input_options, read_inputs
from turnout.cli.instances import ProjectInstances, hooks, instance_lines
from turnout.cli.options import environment_option, json_option, unsafe_sandbox_option
from turnout.cli.project import load_project
from turnout.cli.serving import serve, tell
from turnout.cli.session import platform_of, run_async
from turnout.config import Settings
from turnout.local.platform import Platform

__all__ = ["command"]

_SERVICES = ("ingress", "metadata", "executions", "retention")


@click.command("serve")
@click.argument("services", nargs=-1, metavar="[SERVICE...]", type=click.Choice(_SERVICES))
@click.option("--port", default=8400, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@input_options
@unsafe_sandbox_option
@json_option
@environment_option
def command(
    *,
    services: Sequence[str],
    port: int,
    host: str,
    config_file: Path | None,
    assignments: Sequence[str],
    connections_file: Path | None,
    allow_unsafe_sandbox: bool,
    as_json: bool,
    environment: str | None,
) -> int:
    """Serve webhooks, records and retention on this machine; workers run the executions.

    SERVICE is one of ingress (webhooks and callbacks), metadata (records), executions (the HTTP API) and retention; all of
    them without it. Each integration of the project has an instance of its own name, as it is now: nothing is reloaded.
    """
    settings = load_project(environment=environment, allow_unsafe_sandbox=allow_unsafe_sandbox)
    inputs = read_inputs(config_file, assignments, connections_file)
    serving = _Serve(settings, tuple(services) or _SERVICES, inputs, as_json=as_json)
    return run_async(serving.run(host, port))


class _Serve:
    def __init__(self, settings: Settings, names: tuple[str, ...], inputs: RunInputs, *, as_json: bool) -> None:
        self._settings = settings
        self._names = names
        self._as_json = as_json
        self._instances = ProjectInstances(settings.root, inputs, self._tell)

    async def run(self, host: str, port: int) -> int:
        async with platform_of(self._settings) as platform:
            if "ingress" in self._names:
                await self._instances.deploy_all(platform)
            services = platform.services(*self._names)
            await serve(platform, services, host=host, port=port, ready=partial(self._ready, platform))
        return 0

    def _ready(self, platform: Platform, url: str) -> None:
        instances = platform.instances.all()
        if self._as_json:
            found = [hook for instance in instances for hook in hooks(instance, url)]
            click.echo(json.dumps({"event": "ready", "url": url, "services": self._names, "hooks": found}))
            return
        for line in durability_lines(platform):
            click.echo(line)
        for instance in instances:
            for line in instance_lines(instance, url):
                click.echo(printable(line))
        click.echo(f"{', '.join(self._names)}: serving on {url} (Ctrl-C stops)")

    def _tell(self, event: str, text: str) -> None:
        tell(event, text, as_json=self._as_json)
