"""`turnout worker` as a process, and a project that fills its queue from another: what the tests beside this file work with."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import httpx
from prometheus_client.parser import text_string_to_metric_families
from turnout.cli.project import load_project, load_registry
from turnout.definition import load_integration
from turnout.local.platform import Platform
from turnout.services.submission import Instance
from turnout.values import Value

from tests.dev.commands import TURNOUT, environment, until

__all__ = ["FLOWS", "Dev", "OneService", "Project", "Serve", "Worker", "project_in"]

FLOWS = """
integration: desk
version: 1.0.0
flows:
  quick:
    steps:
      - {id: done, stop: {output: "${{ trigger.body }}"}}
  gate:
    steps:
      - {id: count, action: state.increment, with: {key: "${{ execution.id }}"}}
      - id: work
        code: |
          import { existsSync } from "node:fs";
          export default ({ file }) => new Promise((resolve) => {
            const look = () => (existsSync(file) ? resolve("through") : setTimeout(look, 20));
            look();
          });
        with: {file: "${{ trigger.body }}"}
      - {id: done, stop: {output: {counted: "${{ steps.count.value }}", work: "${{ steps.work }}"}}}
  poison:
    steps:
      - {id: count, action: state.increment, with: {key: "${{ execution.id }}"}}
      - id: kill
        code: |
          import { existsSync } from "node:fs";
          export default ({ file }) => existsSync(file) || process.kill(process.ppid, "SIGKILL");
        with: {file: "${{ trigger.body }}"}
      - {id: done, stop: {output: "${{ steps.count.value }}"}}
"""


@dataclass
class Project:
    """A project whose flows are deployed by the test's own process, which runs nothing."""

    directory: Path
    platform: Platform
    instance: Instance

    async def send(self, flow: str, body: Any = None) -> str:
        """Put an execution into the queue; its id."""
        accepted = await self.platform.submission.accept(self.instance, flow, Value({"body": body}))
        return accepted.id

    async def record(self, id: str) -> Any:
        return await self.platform.record(id)


@asynccontextmanager
async def project_in(directory: Path, settings: str = "") -> AsyncIterator[Project]:
    (directory / "turnout.toml").write_text(f'[api]\nauthentication = "none"\n{settings}')
    (directory / "integration.yaml").write_text(FLOWS)
    loaded = load_project(directory)
    platform = await Platform.open(loaded, load_registry(loaded))
    try:
        integration = load_integration(directory / "integration.yaml")
        yield Project(directory, platform, await platform.deploy(integration, config={}, connections={}))
    finally:
        await platform.close()


@dataclass
class Process:
    """A command that serves, in a directory, from `with` to its end; ready when `with` is entered."""

    directory: Path
    arguments: tuple[str, ...] = ()
    name: str = "worker"
    env: dict[str, str] = field(default_factory=dict)

    command: ClassVar[tuple[str, ...]] = ()
    serving: ClassVar[str] = "ready"

    def __enter__(self) -> Self:
        self._log = self.directory / f"{self.name}.log"
        command = [TURNOUT, *self.command, "--json", *self.arguments]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.directory, env=environment(**self.env), stdout=log, stderr=log
            )
        until(lambda: self.process.poll() is not None or self.events("ready"), seconds=60)
        assert self.process.poll() is None, self.log()
        self.client = httpx.Client(base_url=self.events(self.serving)[0]["url"], timeout=10)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=30)

    def log(self) -> str:
        return self._log.read_text()

    def events(self, name: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        return [one for one in found if one.get("event") == name]


class Worker(Process):
    """`turnout worker`."""

    command = ("worker", "--health", "127.0.0.1:0")
    serving = "listening"

    def metrics(self) -> dict[str, float]:
        """Each sample by its name and labels, as Prometheus would write them."""
        found = {}
        for family in text_string_to_metric_families(self.client.get("/metrics").text):
            for sample in family.samples:
                labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
        return found


class Serve(Process):
    """`turnout serve`."""

    command = ("serve", "--port", "0")


class OneService(Process):
    """`turnout service run NAME`, the name among its arguments."""

    command = ("service", "run", "--port", "0")


class Dev(Process):
    """`turnout dev`."""

    command = ("dev", "--port", "0")
