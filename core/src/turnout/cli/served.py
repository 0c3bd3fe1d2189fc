"""Services that are served on an address until somebody says stop: all but the worker's, or one alone."""

from __future__ import annotations

import json
from functools import partial

import click

from turnout.cli.durability import durability_lines
from turnout.cli.faults import printable
from turnout.cli.inputs import RunInputs
from turnout.cli.instances import ProjectInstances, hooks, instance_lines
from turnout.cli.serving import serve, tell
from turnout.cli.session import platform_of
from turnout.config import Settings
from turnout.local.platform import Platform
from turnout.local.services import WORKER_SERVICES, every_service
from turnout.local.target import LocalTarget

__all__ = ["Served"]


_ACCEPTING = frozenset({"alerts", "ingress", "scheduler"})
"""Services that start executions, or notice that none is started: they know the instances of the project's own files."""


class Served:
    """`name` is the service to serve, wherever it is placed; empty: all that are placed here and are not a worker's."""

    def __init__(self, settings: Settings, name: str, inputs: RunInputs, *, as_json: bool) -> None:
        self._settings = settings
        self._name = name
        self._names: tuple[str, ...] = ()
        self._as_json = as_json
        self._instances = ProjectInstances(settings.root, inputs, self._tell)

    async def run(self, host: str, port: int) -> int:
        """Serve until asked to stop."""
        async with platform_of(self._settings) as platform:
            served = [service for service in await every_service(platform) if self._serves(service.name)]
            self._names = tuple(service.name for service in served)
            if not _ACCEPTING.isdisjoint(self._names):
                await self._instances.deploy_all(platform)
            await serve(platform, served, host=host, port=port, ready=partial(self._ready, platform))
        return 0

    def _serves(self, name: str) -> bool:
        if self._name:
            return name == self._name
        return name not in WORKER_SERVICES and self._settings.service(name).target == LocalTarget.name

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
