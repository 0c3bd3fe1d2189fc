"""The sides of W5, each a pair of processes: one puts, one works. All use one Redis server."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
import venv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.systems import Failed

__all__ = ["SIX_STEPS", "Drained", "Side", "celery", "peers_python", "saq", "turnout_executions", "turnout_queue"]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
_PATIENCE_S = 120.0
_SETTLED_S = 0.5
"""From a worker's saying that it is ready until it certainly waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """`s` from the first message taken to the last one done; `ms` from each put to its taking; `busy_ms` how long the
    worker was busy with each."""

    s: float
    ms: Sequence[float]
    busy_ms: Sequence[float] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """`command` is what is followed by `put COUNT PAUSE_S` or `work COUNT`."""

    name: str
    command: Sequence[str]
    put: str = "put"
    cwd: Path = field(default=ROOT)

    def fill(self, count: int, *, pause_s: float = 0.0, more: Sequence[str] = ()) -> None:
        command = [*self.command, self.put, str(count), str(pause_s), *more]
        done = subprocess.run(
            command,
            cwd=self.cwd,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S + 2 * count * pause_s,
            check=False,
        )
        if done.returncode:
            raise Failed(f"{self.name} could not put: {done.stderr[-2000:]}")

    def start_filling(self, count: int, more: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*self.command, self.put, str(count), "0", *more], cwd=self.cwd)

    def start(self, count: int, more: Sequence[str] = ()) -> Working:
        process = subprocess.Popen(
            [*self.command, "work", str(count), *more],
            cwd=self.cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return Working(self, process, count)

    def drain(self, count: int) -> Drained:
        """Put all, then start one worker."""
        self.fill(count)
        return self.start(count).result()

    def dispatch(self, count: int, *, pause_s: float) -> Drained:
        """Put one now and then while one worker waits."""
        working = self.start(count)
        working.await_ready()
        self.fill(count, pause_s=pause_s)
        return working.result()


@dataclass(frozen=True, slots=True)
class Working:
    """A worker on its way."""

    side: Side
    process: subprocess.Popen[str]
    count: int

    def await_ready(self) -> None:
        """A taker that is not there yet would be measured as slow."""
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            if line == "ready\n":
                time.sleep(_SETTLED_S)
                return
        raise Failed(f"{self.side.name} did not start: {self.process.communicate()[1][-2000:]}")

    def result(self) -> Drained:
        """What it measured, once it has done its count; `Failed` if it has not."""
        try:
            output, errors = self.process.communicate(timeout=_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            said = "".join(self.process.communicate())[-2000:]
            raise Failed(f"{self.side.name} did not do {self.count} within {_PATIENCE_S:.0f} s: {said}") from None
        lines = [line for line in output.splitlines() if line.startswith("{")]
        if not lines:
            raise Failed(f"{self.side.name} measured nothing: {errors[-2000:]}")
        measured = json.loads(lines[-1])
        if len(measured["ms"]) != self.count:
            raise Failed(f"{self.side.name} did {len(measured['ms'])} of {self.count}")
        return Drained(**measured)


def peers_python(tools: Path) -> str:
    """The Python of the peers' own environment, made from `peers/requirements.txt` when that has changed."""
    requirements = HERE / "peers" / "requirements.txt"
    place = tools / f"w5-peers-{hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]}"
    python = place / "bin" / "python"
    done = place / "complete"
    if not done.exists():
        venv.create(place, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(requirements)]
        subprocess.run(pip, check=True)
        done.touch()
    return str(python)


def saq(python: str, url: str) -> Side:
    return Side(name="SAQ", command=[python, str(HERE / "peers" / "saq_side.py"), f"{url}/1"])


def celery(python: str, url: str) -> Side:
    return Side(name="Celery", command=[python, str(HERE / "peers" / "celery_side.py"), f"{url}/2"])


def turnout_queue(url: str) -> Side:
    return Side(name="Turnout", command=[sys.executable, "-m", "benchmarks.queues.turnout_side", url])


NOTHING = "integration: noop\nflows:\n  main:\n    steps:\n      - {id: done, stop: {}}\n"

SIX_STEPS = """integration: big
flows:
  main:
    steps:
      - {id: s1, action: data.write_json, with: {value: "${{ trigger.body }}"}}
      - {id: s2, action: data.parse_json, with: {content: "${{ steps.s1 }}"}}
      - {id: s3, action: data.write_json, with: {value: "${{ steps.s2 }}"}}
      - {id: s4, action: data.parse_json, with: {content: "${{ steps.s3 }}"}}
      - {id: s5, action: data.write_json, with: {value: "${{ steps.s4 }}"}}
      - {id: s6, stop: {output: "${{ steps.s5 }}"}}
"""


def turnout_executions(project: Path, url: str, definition: str = NOTHING) -> Side:
    """Whole executions of a definition; `project` is made anew."""
    project.mkdir(parents=True, exist_ok=True)
    (project / "integration.yaml").write_text(definition)
    (project / "turnout.toml").write_text(
        '[stores]\nqueue = "redis"\njournal = "redis"\nstate = "redis"\n'
        f'[backends.redis]\nurl = "{url}"\nprefix = "executions"\n[runner]\nconcurrency = 64\n'
    )
    command = [sys.executable, "-m", "benchmarks.queues.runner_side", str(project)]
    return Side(name="Turnout, whole executions", command=command, put="submit")
