"""One case: a process that dies at a point, what goes on after it, and what must hold then."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from turnout.config import RetentionSettings, Settings
from turnout.interfaces.clock import SystemClock
from turnout.interfaces.records import ExecutionQuery
from turnout.local.retention import Retention
from turnout.local.stores import Stores
from turnout.model.execution import ExecutionRecord
from turnout.plugins import load_plugins
from turnout.services.metadata import Metadata

from tests.crash.counterpart import Counterpart, Side

__all__ = ["KILLED", "Case", "Left", "Point", "Program", "Workload", "left_behind", "programs"]

ROOT = Path(__file__).parents[2]
KILLED = -9
Point = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What runs: a project with its inputs; `url` of the counterpart is put where `{url}` stands."""

    project: Path
    flow: str
    config: dict[str, str]
    connections: dict[str, dict[str, str]]
    body: Any = None

    def command(self, url: str) -> dict[str, Any]:
        inputs = json.dumps({"config": self.config, "connections": self.connections}).replace("{url}", url)
        return {"project": str(self.project), "flow": self.flow, "body": self.body, **json.loads(inputs)}


class Program:
    """A warmed process that forks the ones that die; one command at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def tell(self, command: dict[str, Any]) -> tuple[int, int]:
        """Exit status of the child (-9: it was killed), and how many processes outlived it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        await self._process.stdin.drain()
        answer = json.loads(await self._process.stdout.readline())
        return answer["status"], answer["orphans"]


@asynccontextmanager
async def programs(count: int) -> AsyncIterator[asyncio.Queue[Program]]:
    """Warmed programs, to be taken and put back."""
    command = [sys.executable, "-m", "tests.crash.program"]
    started = [await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=-1, stdout=-1) for _ in range(count)]
    free: asyncio.Queue[Program] = asyncio.Queue()
    try:
        for process in started:
            assert process.stdout is not None
            json.loads(await process.stdout.readline())
            free.put_nowait(Program(process))
        yield free
    finally:
        for process in started:
            assert process.stdin is not None
            process.stdin.close()
        for process in started:
            await process.wait()


@dataclass
class Case:
    """A directory with a store of its own, made from a template in which the bundle is built already."""

    directory: Path
    side: Side
    command: dict[str, Any]
    program: Program
    orphans: int = 0
    phases: list[str] = field(default_factory=list)

    @classmethod
    def make(
        cls, name: str, *, template: Path, counterpart: Counterpart, url: str, workload: Workload, program: Program
    ) -> Case:
        directory = template.parent / name
        shutil.copytree(template, directory, symlinks=True)
        side = counterpart.sides[name] = Side(directory)
        return cls(directory, side, workload.command(f"{url}/{name}"), program)

    async def do(self, what: str, *, at: Point | None = None, **more: Any) -> int:
        """Run a phase in a process of its own; its exit status."""
        self.phases.append(f"{len(self.phases)}-{what}")
        command = {**self.command, "command": what, "case": str(self.directory), "phase": self.phases[-1], "at": at}
        status, orphans = await self.program.tell({**command, **more})
        self.orphans += orphans
        return status

    def lines(self, kind: str) -> list[tuple[str, ...]]:
        """Phase and words of all lines of that kind, in order."""
        text = (self.directory / "trace").read_text()
        found = [line.split() for line in text.splitlines()]
        return [(phase, *words) for phase, name, *words in found if name == kind]

    def points(self) -> list[Point]:
        """Every point passed by the newest phase, with how many of its name came before it."""
        seen: Counter[str] = Counter()
        points = []
        for phase, name in self.lines("point"):
            if phase == self.phases[-1]:
                points.append((name.replace("/", " "), seen[name]))
                seen[name] += 1
        return points

    def log(self) -> str:
        return (self.directory / "log").read_text() if (self.directory / "log").exists() else ""

    def twice(self) -> list[str]:
        """Steps that were reported complete in one process and worked, or were reported, again in a later one."""
        reported: dict[tuple[str, str], str] = {}
        again = []
        for line in (self.directory / "trace").read_text().splitlines():
            phase, kind, *words = line.split()
            if kind not in ("work", "reported"):
                continue
            step = (words[0], words[1])
            if reported.get(step, phase) != phase:
                again.append(f"{kind} {words[1]} in {phase} after {reported[step]}")
            elif kind == "reported" and words[2] == "succeeded":
                reported[step] = phase
        return again


@dataclass(frozen=True, kw_only=True)
class Left:
    """What the stores hold once all is over."""

    records: dict[str, ExecutionRecord]
    messages: int
    rows: int
    unnamed: list[str]
    missing: list[str]


class _Later(SystemClock):
    """Two hours on: content that nobody names is old enough to go."""

    def now(self) -> float:
        return super().now() + 7200


async def left_behind(case: Case) -> Left:
    """What is there once retention has swept."""
    stores = await Stores.open(Settings(root=case.directory), load_plugins(), clock=_Later())
    try:
        await Retention(stores, Metadata(stores.journal, stores.records, stores.clock), RetentionSettings()).prune()
        found = await stores.records.search(ExecutionQuery(limit=1000))
        records = {record.info.id: await stores.records.get(record.info.id) for record in found}
        stats = await stores.queue.stats()
        named = await stores.records.references()
        payloads = [ref async for ref in stores.payloads.listing(older_than=float("inf"))]
        return Left(
            records={id: record for id, record in records.items() if record is not None},
            messages=stats.ready + stats.delayed + stats.leased + stats.dead,
            rows=len(await stores.journal.entries(after=0, limit=1000)),
            unnamed=[ref.sha256 for tenant, ref in payloads if (tenant, ref.sha256) not in named],
            missing=[sha256 for tenant, sha256 in named if not await stores.payloads.exists(tenant, sha256)],
        )
    finally:
        await stores.close()
