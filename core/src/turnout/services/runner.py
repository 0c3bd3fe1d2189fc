"""The runner service: takes executions from the queue and runs them under their leases."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from turnout.codec import encode_event
from turnout.engine.engine import Engine
from turnout.engine.history import History
from turnout.engine.outcome import Finished, Outcome, Suspended
from turnout.engine.running import Running
from turnout.errors import BackendError, Fenced, NotFound, TurnoutError
from turnout.interfaces.clock import Clock
from turnout.interfaces.journal import Journal, Row
from turnout.interfaces.queue import Lease, LeaseState, Queue
from turnout.interfaces.service import Service
from turnout.model.events import Ended
from turnout.model.execution import ErrorInfo, Status

__all__ = ["Runner"]

_log = logging.getLogger("turnout.runner")


class Runner(Service):
    """Runs up to `concurrency` executions at once.

    A heartbeat renews the leases every `beat_s` and learns of cancellations; expired leases of dead workers are reaped
    as often. `drain_s` is how long `stop` waits for executions to finish before it hands them back.
    """

    name = "runner"

    def __init__(
        self,
        engine: Engine,
        queue: Queue,
        journal: Journal,
        clock: Clock,
        *,
        worker: str,
        concurrency: int = 64,
        beat_s: float = 0.5,
        drain_s: float = 10.0,
    ) -> None:
        self._engine = engine
        self._queue = queue
        self._journal = journal
        self._clock = clock
        self._worker = worker
        self._concurrency = concurrency
        self._beat_s = beat_s
        self._drain_s = drain_s
        self._held: dict[str, tuple[Lease, Running]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self.start_beating()
        self._loops.append(asyncio.ensure_future(self._take()))

    def start_beating(self) -> None:
        """Keep leases alive without taking work: for who claims what it runs itself."""
        self._loops.append(asyncio.ensure_future(self._beat()))

    async def stop(self) -> None:
        """Take nothing more; wait `drain_s` for what runs, then hand the rest back to go on elsewhere."""
        for loop in self._loops[1:]:
            loop.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._drain_s)
        for _, running in list(self._held.values()):
            running.leave()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        self._loops.clear()

    def cancel(self, execution: str, reason: str = "") -> bool:
        """Stop an execution that runs here, at once. False if it does not run here."""
        held = self._held.get(execution)
        if held is not None:
            held[1].cancel(reason)
        return held is not None

    async def _take(self) -> None:
        slots = asyncio.Semaphore(self._concurrency)
        while True:
            await slots.acquire()
            try:
                lease = await self._queue.take(self._worker, wait_s=5.0)
            except BackendError as error:
                _log.warning("cannot take work, trying again: %s", error)
                await self._clock.sleep(1.0)
                lease = None
            if lease is None:
                slots.release()
                continue
            task = asyncio.ensure_future(self._hold(lease))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(lambda _: slots.release())

    async def _hold(self, lease: Lease) -> None:
        try:
            await self.run(lease)
        except BackendError as error:
            # The store that failed is the one to tell; its lease will expire, and another worker goes on.
            _log.warning("execution %s: %s", lease.message.id, error)

    async def run(self, lease: Lease) -> Outcome | None:
        """Run a leased execution and settle its lease. None where it was handed back or lost."""
        id = lease.message.id
        running = Running()
        self._held[id] = (lease, running)
        try:
            outcome = await self._engine.run(
                id, token=lease.token, attempt=lease.attempt, worker=self._worker, running=running
            )
        except Fenced as fenced:
            _log.info("%s", fenced)
            return None
        except asyncio.CancelledError:
            await self._queue.release(lease)
            if not running.leaving():
                raise
            return None
        except Exception as error:
            if isinstance(error, NotFound) and not await self._journal.rows(id):
                # It ended and was recorded and forgotten, and its worker died just before it could say so here.
                await self._queue.complete(lease)
                await self._journal.forget([id])
            else:
                await self._fail(lease, error)
            return None
        finally:
            del self._held[id]
        match outcome:
            case Finished():
                await self._queue.complete(lease)
            case Suspended(until=until):
                delay = None if until is None else max(0.0, until - self._clock.now())
                await self._queue.release(lease, delay_s=delay)
        return outcome

    async def _fail(self, lease: Lease, error: Exception) -> None:
        """Something of ours or of a backend failed, not the customer's flow: try again, at last give up openly."""
        id = lease.message.id
        reason = f"{type(error).__name__}: {error}"
        _log.error(
            "execution %s, attempt %d: %s", id, lease.attempt, reason, exc_info=not isinstance(error, TurnoutError)
        )
        await self._queue.fail(lease, reason=reason, delay_s=min(60.0, 2.0 ** (lease.attempt - 1)))
        await self.bury()

    async def _beat(self) -> None:
        while True:
            await self._clock.sleep(self._beat_s)
            try:
                await self._renew()
                await self.fence(await self._queue.reap())
            except BackendError as error:
                _log.warning("cannot renew leases, trying again: %s", error)

    async def _renew(self) -> None:
        held = list(self._held.values())
        if not held:
            return
        states = await self._queue.extend([lease for lease, _ in held])
        for (lease, running), state in zip(held, states, strict=True):
            match state:
                case LeaseState.CANCELLED:
                    asked = History.of(await self._journal.rows(lease.message.id)).cancel
                    running.cancel("" if asked is None else asked.reason)
                case LeaseState.LOST:
                    running.leave()
                case LeaseState.HELD:
                    pass

    async def fence(self, lost: Sequence[Lease]) -> None:
        """Keep whoever lost these leases from writing more, to sub-executions as well, and bury what was tried too often."""
        if not lost:
            return
        unfinished = await self._journal.unfinished()
        for lease in lost:
            id = lease.message.id
            for execution in (id, *(other for other in unfinished if other.startswith(f"{id}-"))):
                await self._journal.fence(execution, lease.token)
        await self.bury()

    async def bury(self) -> None:
        """Give executions that used up their attempts their end, and their sub-executions, so that none stays running
        for ever. Also those whose worker died before it could."""
        for dead in await self._queue.dead(limit=1000):
            id = dead.message.id
            history = History.of(await self._journal.rows(id))
            if history.info is None or history.ended is not None:
                continue
            message = (
                f"given up after {dead.attempts} attempts: {dead.reason or 'its workers died while they ran it'}. "
                f"`turnout executions resume {id}` tries again from where it was"
            )
            below = [other for other in await self._journal.unfinished() if other.startswith(f"{id}-")]
            for execution in (*below, id):
                error = ErrorInfo(kind="dead_letter", message=message)
                ended = Ended(at=self._clock.now(), status=Status.FAILED, error=error)
                # Nobody holds it: the message is dead, and each lease of it is lost.
                await self._journal.signal(execution, Row(*encode_event(ended)))
