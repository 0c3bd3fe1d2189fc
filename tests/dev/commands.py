"""The `turnout` command as a process: what the tests beside this file start, kill and ask."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

__all__ = ["FLOWS", "TURNOUT", "Dev", "run", "until"]

TURNOUT = str(Path(sys.executable).parent / "turnout")
_START_S = 60.0
_END_S = 30.0

FLOWS = """
integration: desk
version: 1.0.0
flows:
  echo:
    trigger: {webhook: {}}
    steps:
      - {id: done, stop: {output: "${{ trigger }}"}}
  body:
    trigger: {webhook: {}}
    steps:
      - {id: done, stop: {output: "${{ trigger.body }}"}}
  count:
    trigger: {webhook: {}}
    steps:
      - {id: add, action: state.increment, with: {key: runs}}
      - {id: done, stop: {output: "${{ steps.add.value }}"}}
  fail:
    trigger: {webhook: {}}
    steps:
      - {id: no, stop: {error: "this never works"}}
  slow:
    trigger: {webhook: {}}
    steps:
      - id: work
        code: |
          export default () => new Promise((resolve) => setTimeout(resolve, 1500, "done"))
      - {id: done, stop: {output: "${{ steps.work }}"}}
  long:
    trigger: {webhook: {}}
    steps:
      - id: work
        code: |
          export default () => new Promise((resolve) => setTimeout(resolve, 60_000))
  ask:
    trigger: {webhook: {}}
    steps:
      - id: tell
        code: |
          export default ({ url }) => console.log(url)
        with: {url: "${{ callback_url('answer') }}"}
      - {id: answer, wait: {callback: true, timeout: 1h}}
      - {id: done, stop: {output: "${{ steps.answer.body }}"}}
  hidden:
    steps:
      - {id: done, stop: {output: 1}}
"""


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1", **more}


def run(*arguments: str | Path, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A command to its end."""
    command = [TURNOUT, *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=environment(**(env or {})), capture_output=True, text=True, timeout=60, check=False
    )


def until(what: Callable[[], Any], *, seconds: float = _END_S) -> Any:
    """The first true answer."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = what()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds:g} s: {what}")


@dataclass
class Dev:
    """`turnout dev` in a directory, from `with` to its end."""

    directory: Path
    arguments: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    port: int = 0

    def __enter__(self) -> Self:
        log = (self.directory / "dev.log").open("ab")
        command = [TURNOUT, "dev", "--json", "--port", str(self.port), *self.arguments]
        with log:
            self.process = subprocess.Popen(
                command, cwd=self.directory, env=environment(**self.env), stdout=log, stderr=log
            )
        begun = len(self.events("ready"))
        ready = until(lambda: self.process.poll() is not None or self.events("ready")[begun:], seconds=_START_S)
        assert ready is not True, self.log()
        self.ready = self.events("ready")[-1]
        self.client = httpx.Client(base_url=self.ready["url"], timeout=60)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(timeout=_END_S)

    def log(self) -> str:
        return (self.directory / "dev.log").read_text()

    def events(self, name: str) -> list[dict[str, Any]]:
        """What it has told, of that name, by every `Dev` of this directory."""
        lines = [line for line in self.log().splitlines(keepends=True) if line.startswith("{") and line.endswith("\n")]
        return [event for event in map(json.loads, lines) if event.get("event") == name]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def post(self, flow: str, *, wait: str = "30s", instance: str = "desk", **request: Any) -> httpx.Response:
        return self.client.post(f"/hooks/{instance}/{flow}", params={"wait": wait} if wait else None, **request)

    def record(self, execution: str, *statuses: str) -> dict[str, Any]:
        """The record once it has one of the statuses; an end by default."""
        wanted = statuses or ("succeeded", "failed", "cancelled", "parked")

        def found() -> Any:
            record = self.client.get(f"/api/v1/executions/{execution}").raise_for_status().json()
            return record if record["status"] in wanted else None

        record: dict[str, Any] = until(found)
        return record
