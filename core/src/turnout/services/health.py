"""Whether a worker lives and may be given work, over HTTP: for ECS, load balancers, Kubernetes, and Prometheus."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from turnout.errors import BackendError
from turnout.interfaces.journal import Journal
from turnout.interfaces.queue import Queue
from turnout.interfaces.service import Request, Response, Route, Service
from turnout.services.metrics import CONTENT_TYPE, Metrics
from turnout.services.runner import Runner

__all__ = ["Health"]

_PROBE: Final = "turnout-probe"
"""The id of no execution: asking for it costs a store next to nothing."""


class Health(Service):
    """`GET /healthz`: 200 as long as the worker's loop answers and its heartbeat runs. `GET /readyz`: 200 once the worker
    takes work, 503 with the reasons while it is starting or draining, or the queue or the journal has not answered within
    three looks. `GET /metrics`: the metrics. It looks every `look_s`."""

    name = "health"

    def __init__(
        self,
        queue: Queue,
        journal: Journal,
        runner: Runner,
        metrics: Metrics,
        *,
        look_s: float = 1.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._journal = journal
        self._runner = runner
        self._metrics = metrics
        self._look_s = look_s
        self._monotonic = monotonic
        self._answered_at: dict[str, float] = {}
        self._errors: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None
        self.ready = False
        """Set once the worker has started."""

    def routes(self) -> Sequence[Route]:
        return [
            Route(method="GET", path="/healthz", handle=self.healthz),
            Route(method="GET", path="/readyz", handle=self.readyz),
            Route(method="GET", path="/metrics", handle=self.metrics),
        ]

    async def start(self) -> None:
        await self.look()
        self._task = asyncio.ensure_future(self._look())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def healthz(self, _: Request) -> Response:
        silent_s = self._runner.heartbeat.silent_s
        if self.ready and silent_s > self._runner.options.lease_s:
            return _json(503, {"status": "stuck", "reasons": [f"the heartbeat has not run for {silent_s:.0f} s"]})
        return _json(200, {"status": "alive"})

    async def readyz(self, _: Request) -> Response:
        reasons = self.reasons()
        state = "draining" if self._runner.draining else "starting" if not self.ready else "not ready"
        if reasons:
            return _json(503, {"status": state, "reasons": reasons})
        return _json(200, {"status": "ready", "reasons": []})

    def reasons(self) -> list[str]:
        """Why the worker should be given no work; empty if it is ready."""
        found = []
        if self._runner.draining:
            found.append(f"draining: takes nothing more, {self._runner.running} executions run")
        elif not self.ready:
            found.append("starting: the sandbox is not ready")
        now = self._monotonic()
        for store in ("queue", "journal"):
            answered_at = self._answered_at.get(store)
            if answered_at is None or now - answered_at > 4 * self._look_s:
                found.append(f"the {store} does not answer: {self._errors.get(store, 'not asked yet')}")
        return found

    async def metrics(self, _: Request) -> Response:
        return Response(headers={"content-type": CONTENT_TYPE}, body=await self._metrics.scrape())

    async def look(self) -> None:
        """Ask the queue and the journal, each for `look_s` at most."""
        await asyncio.gather(
            self._ask("queue", lambda: self._queue.missing([_PROBE])),
            self._ask("journal", lambda: self._journal.rows(_PROBE)),
        )

    async def _ask(self, store: str, ask: Callable[[], Awaitable[object]]) -> None:
        try:
            async with asyncio.timeout(self._look_s):
                await ask()
        except TimeoutError:
            self._errors[store] = f"no answer within {self._look_s:g} s"
        except Exception as error:  # whatever it is, the next look may find it well
            self._errors[store] = str(error) if isinstance(error, BackendError) else type(error).__name__
        else:
            self._answered_at[store] = self._monotonic()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self._look_s)
            await self.look()


def _json(status: int, data: object) -> Response:
    return Response(status=status, headers={"content-type": "application/json"}, body=json.dumps(data).encode())
