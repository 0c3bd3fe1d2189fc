"""A whole installation: workers and a front that are started again whenever they die, the other side, and who sends webhooks.

async with cluster(directory, Shape()) as running:
    await running.send("loop", "acme")
    running.worker().send(signal.SIGKILL)
    history = await running.finish()
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import os
import signal
import socket
import sys
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.chaos.history import Effect, History, Sent, Told, read_effects, read_left
from tests.chaos.nursery import Life, Nursery
from tests.chaos.workloads import WORKLOADS, write_projects

__all__ = ["Cluster", "Shape", "cluster"]

ROOT = Path(__file__).parents[2]
_PIPE_BYTES = 1024 * 1024
_PAUSE_S = 0.02
_AGAIN_S = 0.2
"""Between the deaths of a process that cannot even start, while its server is away say."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """`stores` are the tables `[stores]` and `[backends.*]` of `turnout.toml`. `lease_s`, `attempts` and `concurrency` are
    settings. `broken` breaks a promise in every process (`tests.chaos.parts.BROKEN`); `clocks_s` sets workers' clocks off."""

    stores: str = ""
    workers: int = 4
    lease_s: int = 2
    attempts: int = 5
    concurrency: int = 8
    tenants: tuple[str, ...] = ("acme", "bolt")
    broken: str = ""
    clocks_s: Mapping[int, float] = field(default_factory=dict)

    @property
    def settings(self) -> str:
        return (
            f'[queue]\nlease = "{self.lease_s}s"\nattempts = {self.attempts}\n'
            f"[runner]\nconcurrency = {self.concurrency}\nallow_unsafe_sandbox = true\n"
            f'[api]\nauthentication = "none"\n{self.stores}'
        )


class Cluster:
    """See the module. `deaths` are what the next lives of a role die of, in turn; `kills` counts what did."""

    def __init__(self, directory: Path, shape: Shape, nursery: Nursery, url: str) -> None:
        self.directory = directory
        self.shape = shape
        self.told: list[Told] = []
        self.sent: list[Sent] = []
        self.unsure = 0
        self.deaths: dict[str, deque[tuple[str, int]]] = {"worker": deque(), "front": deque()}
        self.kills: Counter[str] = Counter()
        self.port = _free_port()
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=30)
        self._nursery = nursery
        self._url = url
        self._numbers = itertools.count(1)
        self._lives: dict[str, Life] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._stopping: set[str] = set()
        self._decided: set[str] = set()
        self._exits: list[str] = []
        self._pending = b""
        self._pipe = self._open_pipe()

    async def start(self) -> None:
        write_projects(self.directory / "projects")
        project = self.directory / "project"
        project.mkdir()
        (project / "turnout.toml").write_text(self.shape.settings, encoding="utf-8")
        self.keep("front")
        await self.ready()
        await self.start_workers()

    async def start_workers(self) -> None:
        for index in range(self.shape.workers):
            self.keep(f"worker{index}")
        await self._until(
            lambda: all((self.directory / f"worker{i}.ready").exists() for i in range(self.shape.workers))
        )

    def keep(self, name: str) -> None:
        """Start the process of that name, and again whenever it ends."""
        self._stopping.discard(name)
        self._keepers[name] = asyncio.ensure_future(self._keep(name))

    async def ready(self) -> None:
        """Once the front answers."""
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if (await self.http.get("/api/v1/executions?limit=1")).is_success:
                        return
                assert not self._exits, self._exits
                await asyncio.sleep(_PAUSE_S)

    def worker(self, index: int = 0) -> Life:
        """Its present life."""
        return self._lives[f"worker{index}"]

    @property
    def front(self) -> Life:
        return self._lives["front"]

    @property
    def workers(self) -> list[Life]:
        """Those that are alive."""
        return [life for name, life in self._lives.items() if name.startswith("worker") and life.alive]

    def kill(self, life: Life, why: str) -> None:
        """SIGKILL, counted."""
        if life.alive:
            self.kills[why] += 1
            life.send(signal.SIGKILL)

    async def send(self, workload: str, tenant: str, *, order: str = "") -> Sent:
        """Send a webhook until one is accepted. One without an answer may have been accepted: it is sent anew."""
        while True:
            number = next(self._numbers)
            body = WORKLOADS[workload].body(number, order)
            try:
                answer = await self.http.post(f"/hooks/{workload}-{tenant}/main", json=body)
            except httpx.HTTPError:
                answer = None
            if answer is not None and answer.status_code == 202:
                sent = Sent(
                    execution=answer.json()["execution"],
                    workload=workload,
                    tenant=tenant,
                    number=number,
                    order=order,
                    place=len(self.told),
                )
                self.sent.append(sent)
                return sent
            self.unsure += 1
            await asyncio.sleep(_PAUSE_S)

    async def finish(self, *, within_s: float = 60.0) -> History:
        """Wait for every end, decide what is parked, stop everything, look at what is left. What has no end by then is in
        the history without it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self.settled()
                while await self._decide():
                    await self.settled()
        await self._stop_all()
        return await self._history()

    async def settled(self) -> None:
        """Until nothing is queued, running or waiting for a time."""
        await self._until_true(self._is_settled)

    async def seen(self, what: Callable[[], bool], *, within_s: float = 60.0) -> None:
        """Until something is true of what was told so far."""
        async with asyncio.timeout(within_s):
            await self._until(what)

    def count(self, kind: str) -> int:
        """How many such lines were told so far."""
        return sum(line.kind == kind for line in self.told)

    def effects(self) -> list[Effect]:
        return read_effects(self.directory / "effects.log")

    async def _is_settled(self) -> bool:
        try:
            answer = await self.http.get("/api/v1/executions?status=queued,running,waiting&limit=1")
        except httpx.HTTPError:
            return False
        return answer.is_success and answer.json()["items"] == []

    async def _decide(self) -> bool:
        """Look on the other side for each that is parked, as a person would, and say what happened."""
        try:
            answer = await self.http.get("/api/v1/executions?status=parked&limit=500")
            parked = [one["id"] for one in answer.json()["items"]]
            receipts = {effect.execution: effect.receipt for effect in self.effects()}
            for id in parked:
                receipt = receipts.get(id)
                decision = {"repeat": True} if receipt is None else {"output": {"json": {"receipt": receipt}}}
                if (await self.http.post(f"/chaos/decide/{id}", json=decision)).is_success:
                    self._decided.add(id)
        except httpx.HTTPError:
            return True
        return bool(parked)

    async def _keep(self, name: str) -> None:
        role = "front" if name == "front" else "worker"
        for number in itertools.count():
            dies_at = self.deaths[role].popleft() if self.deaths[role] else None
            life = await self._nursery.spawn({**self._spec(name, number), "role": role, "dies_at": dies_at})
            self._lives[name] = life
            status = await asyncio.shield(life.ended)
            self._judge(name, life, status)
            if name in self._stopping:
                return
            if status != -signal.SIGKILL:
                await asyncio.sleep(_AGAIN_S)

    def _judge(self, name: str, life: Life, status: int) -> None:
        """Who was not ready yet may end because its server is away, or by SIGTERM: it had nothing to lose."""
        wanted = {0} if name in self._stopping else {-signal.SIGKILL}
        if not self._was_ready(name, life):
            wanted |= {os.EX_TEMPFAIL, -signal.SIGTERM, -signal.SIGKILL}
        if status not in wanted:
            asked = "when it was asked to stop" if name in self._stopping else "by itself"
            self._exits.append(f"{life.name} ended with {status} {asked}: {self._log(name)}")

    def _was_ready(self, name: str, life: Life) -> bool:
        ready = self.directory / f"{name}.ready"
        return ready.exists() and ready.read_text(encoding="utf-8") == life.name

    def _spec(self, name: str, number: int) -> dict[str, Any]:
        index = int(name.removeprefix("worker") or "0") if name.startswith("worker") else -1
        return {
            "life": f"{name}.{number}",
            "project": str(self.directory / "project"),
            "trace": str(self.directory / "trace"),
            "log": str(self.directory / f"{name}.log"),
            "ready": str(self.directory / f"{name}.ready"),
            "into": str(self.directory / "left.json"),
            "port": self.port,
            "url": f"http://127.0.0.1:{self.port}",
            "tenants": self.shape.tenants,
            "projects": self._projects(),
            "broken": self.shape.broken,
            "clock_s": self.shape.clocks_s.get(index, 0.0),
        }

    def _projects(self) -> list[dict[str, Any]]:
        def filled(values: Mapping[str, str]) -> dict[str, str]:
            return {key: value.replace("{url}", self._url) for key, value in values.items()}

        return [
            {
                "path": str(self.directory / "projects" / workload.name),
                "config": {"erp_url" if workload.name == "orders" else "url": self._url},
                "connections": {slot: filled(values) for slot, values in workload.connections.items()},
            }
            for workload in WORKLOADS.values()
        ]

    async def _stop_all(self) -> None:
        """SIGTERM, the workers first. What does not end is killed, and told of."""
        for names in ([name for name in self._keepers if name != "front"], ["front"]):
            self._stopping.update(names)
            for name in names:
                self._lives[name].send(signal.SIGCONT)
                self._lives[name].send(signal.SIGTERM)
            _, late = await asyncio.wait([self._keepers[name] for name in names], timeout=20)
            for name in names:
                if self._keepers[name] in late:
                    self._exits.append(f"{name} did not stop within 20 s")
                    self._lives[name].send(signal.SIGKILL)
            await asyncio.wait([self._keepers[name] for name in names])

    async def _history(self) -> History:
        left = self.directory / "left.json"
        life = await self._nursery.spawn({**self._spec("inspect", 0), "role": "inspect", "life": "inspect.0"})
        status = await life.ended
        assert status == 0, self._log("inspect")
        records, dead, leftovers = read_left(left)
        return History(
            sent=self.sent,
            unsure=self.unsure,
            effects=self.effects(),
            told=self.told,
            records=records,
            decided=frozenset(self._decided),
            dead=dead,
            attempts=self.shape.attempts,
            slots=self.shape.workers * self.shape.concurrency,
            leftovers={**leftovers, "waiting": leftovers["waiting"], "orphans": await self._orphans()},
            exits=self._exits,
        )

    async def _orphans(self) -> list[int]:
        """Those who are still there after a while: a sandbox notices soon that its worker is gone."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(20):
                while await self._nursery.orphans():
                    await asyncio.sleep(_PAUSE_S)
        return await self._nursery.orphans()

    def log(self, name: str) -> str:
        """What all processes whose names begin so have logged."""
        logs = sorted(self.directory.glob(f"{name}*.log"))
        return "".join(log.read_text(encoding="utf-8", errors="replace") for log in logs)

    def _log(self, name: str) -> str:
        return self.log(name)[-2000:]

    def _open_pipe(self) -> int:
        path = self.directory / "trace"
        os.mkfifo(path)
        pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # without root there is a limit
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        asyncio.get_running_loop().add_reader(pipe, self._hear)
        return pipe

    def _hear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            *lines, self._pending = (self._pending + os.read(self._pipe, _PIPE_BYTES)).split(b"\n")
            for line in lines:
                life, kind, *words = line.decode().split(" ")
                self.told.append(Told(life, kind, tuple(words)))
                if kind == "dies":
                    self.kills[words[0]] += 1

    async def close(self) -> None:
        for keeper in self._keepers.values():
            keeper.cancel()
        await asyncio.gather(*self._keepers.values(), return_exceptions=True)
        for life in self._lives.values():
            if life.alive:
                life.send(signal.SIGKILL)
                await life.ended
        asyncio.get_running_loop().remove_reader(self._pipe)
        os.close(self._pipe)
        await self.http.aclose()

    async def _until(self, true: Callable[[], bool]) -> None:
        while not true():
            await asyncio.sleep(_PAUSE_S)

    async def _until_true(self, true: Callable[[], Awaitable[bool]]) -> None:
        while not await true():
            await asyncio.sleep(_PAUSE_S * 5)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@asynccontextmanager
async def _other_side(log: Path) -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.chaos.counterpart", str(log), cwd=ROOT, stdout=-1
    )
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def cluster(directory: Path, shape: Shape, nursery: Nursery) -> AsyncIterator[Cluster]:
    """Up and serving; killed and gone afterwards, if it was not stopped by `finish`."""
    directory.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(_other_side(directory / "effects.log"))
        running = Cluster(directory, shape, nursery, url)
        stack.push_async_callback(running.close)
        await running.start()
        yield running
