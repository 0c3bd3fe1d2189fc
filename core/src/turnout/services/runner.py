"""The runner service: takes executions from the queue and runs them under their leases."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from turnout.engine.engine import Engine
from turnout.engine.history import History
from turnout.engine.outcome import Finished, Outcome, Suspended
from turnout.engine.running import Running
from turnout.errors import BackendError, Fenced, NotFound, TurnoutError
from turnout.interfaces.clock import Clock
from turnout.interfaces.journal import Journal
from turnout.interfaces.queue import Lease, Queue
from turnout.interfaces.service import Invocation, Needs, Service
from turnout.model.execution import ExecutionInfo, Status
from turnout.services.debounced import end_debounced
from turnout.services.heartbeat import Heartbeat, OpenQueue

__all__ = ["Runner", "RunnerOptions", "RunnerWatch"]

_BATCH: Final = 16
"""Leases taken at once at most, so that a burst is shared among workers."""

_HAND_BACK_S: Final = 2.0
"""How long executions have to let go before they are handed back without being asked."""

_LEAVE_S: Final = 8.0
"""How long before the end of a call executions are handed back: time for them to let go, and to say so to the stores."""

_LOOK_S: Final = 1.0
"""How often a call that has room looks for more."""

_GRACE_S: Final = 30.0
"""How long after its deadline an execution that does not let go keeps its lease."""

_REASON_CHARACTERS = 1000
_log = logging.getLogger("turnout.runner")


class RunnerWatch(Protocol):
    """Who wants to know how the runner does. Called on its loop; must return at once."""

    def dispatched(self, waited_s: float) -> None:
        """An execution was handed out for the first time, so long after it was accepted."""

    def ended(self, info: ExecutionInfo, status: Status, took_s: float) -> None:
        """An execution ended, so long after it was accepted."""

    def failed(self, store: str) -> None:
        """A call of the `queue` failed, or something of ours as an execution ran (`execution`)."""


class _Unwatched:
    def dispatched(self, waited_s: float) -> None:
        pass

    def ended(self, info: ExecutionInfo, status: Status, took_s: float) -> None:
        pass

    def failed(self, store: str) -> None:
        pass


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerOptions:
    """`concurrency` executions run at once. `lease_s` is the queue's lease time; leases are renewed every `beat_s`, which
    is also how soon a cancellation is learned of, and not for a loop that hangs for `stall_s`. `drain_s` is how long `stop`
    waits for executions to finish before it hands them back.

    An execution that is tried for the `suspect_attempt`-th time may be what kills its workers. A worker runs one of them at a
    time, so that none of the others is with it when it does so again.
    """

    concurrency: int = 64
    lease_s: float = 30.0
    beat_s: float = 0.5
    stall_s: float = 60.0
    drain_s: float = 10.0
    suspect_attempt: int = 3


class Runner(Service):
    """Takes and runs executions between `start` and `stop`. `open_queue` lets leases be renewed from a thread; `given` is
    called with each lease, `given_up` when an execution may have used up its attempts."""

    name = "runner"
    needs = Needs(long_lived=True, in_calls=True)

    def __init__(
        self,
        engine: Engine,
        queue: Queue,
        journal: Journal,
        clock: Clock,
        *,
        worker: str,
        options: RunnerOptions | None = None,
        open_queue: OpenQueue | None = None,
        given: Callable[[Lease], None] = lambda lease: None,
        given_up: Callable[[Collection[str]], Awaitable[None]] | None = None,
        watch: RunnerWatch | None = None,
    ) -> None:
        self.worker = worker
        self.options = options = options or RunnerOptions()
        self._engine = engine
        self._queue = queue
        self._journal = journal
        self._clock = clock
        self._given = given
        self._given_up = given_up
        self._watch = watch or _Unwatched()
        self.heartbeat = Heartbeat(
            queue,
            clock,
            lost=self._lost,
            cancelled=self._cancelled,
            lease_s=options.lease_s,
            beat_s=options.beat_s,
            stall_s=options.stall_s,
            open_queue=open_queue,
        )
        self._held: dict[str, tuple[Lease, Running]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._suspect: asyncio.Task[None] | None = None
        self._loops: list[asyncio.Task[None]] = []
        self._asking: set[asyncio.Task[None]] = set()
        self._freed = asyncio.Event()
        self._hurried = asyncio.Event()
        self._draining = False
        self.handed_back = 0
        """How many executions the last `stop` gave to others."""

    @property
    def running(self) -> int:
        """How many executions run here."""
        return len(self._held)

    @property
    def draining(self) -> bool:
        """Whether nothing more is taken."""
        return self._draining

    async def start(self) -> None:
        self._draining = False
        self._hurried.clear()
        await self.start_beating()
        self._loops = [asyncio.ensure_future(self._take()), asyncio.ensure_future(self._watch_deadlines())]

    async def start_beating(self) -> None:
        """Keep leases alive without taking work: for who claims what it runs itself."""
        await self.heartbeat.start()

    async def stop(self) -> None:
        """Take nothing more; wait `drain_s` for what runs, then hand the rest back to go on elsewhere."""
        await self.stop_taking()
        await self._wait_for_tasks(self.options.drain_s)
        await self._hand_back()
        await self.heartbeat.stop()

    async def work(self, call: Invocation, leases: Sequence[Lease] | None = None) -> None:
        """Run these, or without `leases` what the queue has now, each to its end; what still runs when the call's time is almost
        over is handed back with its progress, and goes on in another call."""
        self._draining = False
        self._hurried.clear()
        await self.start_beating()
        self._loops = [asyncio.ensure_future(self._watch_deadlines())]
        try:
            for lease in leases or ():
                self._begin(lease)
            await self._work(call, take=leases is None)
        finally:
            await self.stop_taking()
            await self._hand_back()
            await self.heartbeat.stop()

    async def _work(self, call: Invocation, *, take: bool) -> None:
        """Until nothing runs and the queue has nothing more, or the time is almost over."""
        while (left := call.remaining_s() - _LEAVE_S) > 0:
            free = min(self.options.concurrency - len(self._tasks), _BATCH)
            taken = await self._queue.take_many(self.worker, limit=free, wait_s=0.0) if take and free > 0 else ()
            for lease in taken:
                self._begin(lease)
            if not self._tasks:
                return
            if not taken:
                await asyncio.wait(self._tasks, timeout=min(left, _LOOK_S), return_when=asyncio.FIRST_COMPLETED)

    def refuse_more(self) -> None:
        """Count as draining from now on; `stop` does the rest."""
        self._draining = True

    def hurry(self) -> None:
        """Let a `stop` that waits for executions hand them back now."""
        self._hurried.set()

    async def stop_taking(self) -> None:
        """Take nothing more; what runs goes on."""
        self._draining = True
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
        while True:
            while (free := self.options.concurrency - len(self._tasks)) <= 0:
                self._freed.clear()
                await self._freed.wait()
            try:
                leases = await self._queue.take_many(self.worker, limit=min(free, _BATCH), wait_s=5.0)
            except Exception as error:  # whatever it is, nobody else would tell, and the next try may do better
                _log.warning("cannot take work, trying again: %s", error, exc_info=not isinstance(error, BackendError))
                self._watch.failed("queue")
                await self._clock.sleep(1.0)
                continue
            for lease in leases:
                self._begin(lease)

    def _begin(self, lease: Lease) -> None:
        suspect = lease.attempt >= self.options.suspect_attempt
        if suspect and self._suspect is not None:
            task = asyncio.ensure_future(self._decline(lease))
        else:
            task = asyncio.ensure_future(self._hold(lease))
            self._suspect = task if suspect else self._suspect
        self._tasks.add(task)
        task.add_done_callback(self._free)

    def _free(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._suspect is task:
            self._suspect = None
        self._freed.set()

    async def _decline(self, lease: Lease) -> None:
        """Leave it to another worker, or for later; not all of them at the same moment."""
        try:
            await self._queue.decline(lease, delay_s=random.uniform(0.1, 1.0))  # noqa: S311 - spreads load
        except BackendError as error:
            self._watch.failed("queue")
            _log.warning("execution %s: %s", lease.message.id, error)

    async def _hold(self, lease: Lease) -> None:
        try:
            await self.run(lease)
        except BackendError as error:
            # The store that failed is the one to tell; its lease will expire, and another worker goes on.
            self._watch.failed("queue")
            _log.warning("execution %s: %s", lease.message.id, error)

    async def run(self, lease: Lease) -> Outcome | None:
        """Run a leased execution and settle its lease. None where it was handed back or lost."""
        id, running = lease.message.id, Running()
        if (before := self._held.get(id)) is not None:
            before[1].leave()  # its lease was lost, and the queue gave it to us again before we were told
        held = self._held[id] = (lease, running)
        self._given(lease)
        self.heartbeat.hold(lease)
        try:
            outcome = await self._run(lease, running)
            match outcome:
                case Finished():
                    await self._queue.complete(lease)
                case Suspended(until=until):
                    delay = None if until is None else max(0.0, until - self._clock.now())
                    await self._queue.release(lease, delay_s=delay)
                case None:
                    pass
        finally:
            self.heartbeat.let_go(lease)
            if self._held.get(id) is held:
                del self._held[id]
        return outcome

    async def _run(self, lease: Lease, running: Running) -> Outcome | None:
        id = lease.message.id
        try:
            outcome = await self._execute(lease, running)
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
        self._tell(running, outcome)
        return outcome

    async def _execute(self, lease: Lease, running: Running) -> Outcome:
        if lease.superseded_by:
            return await end_debounced(self._engine.backends, lease, running)
        return await self._engine.run(
            lease.message.id, token=lease.token, attempt=lease.attempt, worker=self.worker, running=running
        )

    def _tell(self, running: Running, outcome: Outcome) -> None:
        if running.info is None:
            return
        took_s = max(0.0, self._clock.now() - running.info.created_at)
        if running.waited_s is not None:
            self._watch.dispatched(running.waited_s)
        if isinstance(outcome, Finished):
            self._watch.ended(running.info, outcome.status, took_s)

    async def _fail(self, lease: Lease, error: Exception) -> None:
        """Something of ours or of a backend failed, not the customer's flow: try again, at last give up openly."""
        id = lease.message.id
        ours = isinstance(error, TurnoutError)
        # What another's error says may hold anything; the dead letter and the record that tell the reason are for people.
        reason = type(error).__name__ + (f": {error}"[:_REASON_CHARACTERS] if ours else ": see the worker's log")
        self._watch.failed("execution")
        _log.error("execution %s, attempt %d: %s", id, lease.attempt, reason, exc_info=not ours)
        await self._queue.fail(lease, reason=reason, delay_s=min(60.0, 2.0 ** (lease.attempt - 1)))
        if self._given_up is not None:
            await self._given_up([id])

    def _lost(self, lease: Lease) -> None:
        if (running := self._running(lease)) is not None:
            _log.info("execution %s: its lease is lost", lease.message.id)
            running.leave()

    def _cancelled(self, lease: Lease) -> None:
        task = asyncio.ensure_future(self._cancel(lease))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _cancel(self, lease: Lease) -> None:
        try:
            asked = History.of(await self._journal.rows(lease.message.id)).cancel
        except BackendError as error:
            _log.warning("execution %s is to be cancelled; why is not known: %s", lease.message.id, error)
            asked = None
        if (running := self._running(lease)) is not None:
            running.cancel("" if asked is None else asked.reason)

    def _running(self, lease: Lease) -> Running | None:
        """The execution that runs here under this very lease."""
        held = self._held.get(lease.message.id)
        return held[1] if held is not None and held[0].token == lease.token else None

    async def _watch_deadlines(self) -> None:
        """Let go of executions that are past their deadline and did not stop: a connector may swallow what tells it to.
        Their leases run out, and another attempt ends them."""
        while True:
            await self._clock.sleep(_GRACE_S / 3)
            latest = self._clock.now() - _GRACE_S
            for lease, running in list(self._held.values()):
                deadline = None if running.info is None else running.info.deadline
                if deadline is not None and deadline < latest and not running.leaving():
                    _log.error("execution %s does not stop at its deadline: its lease is let go", lease.message.id)
                    self.heartbeat.let_go(lease)
                    running.leave()

    async def _wait_for_tasks(self, seconds: float) -> None:
        """Until nothing runs, the time is over, or somebody hurries."""
        if not self._tasks:
            return
        hurried = asyncio.ensure_future(self._hurried.wait())
        finished = asyncio.ensure_future(asyncio.wait(self._tasks))
        await asyncio.wait((hurried, finished), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for waiting in (hurried, finished):
            waiting.cancel()
        await asyncio.gather(hurried, finished, return_exceptions=True)

    async def _hand_back(self) -> None:
        """Stop what runs, its progress written, and give it to others."""
        self.handed_back = len(self._held)
        for _, running in list(self._held.values()):
            running.hand_back()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_HAND_BACK_S)
        for lease, _ in list(self._held.values()):
            _log.warning("execution %s does not stop: it is handed back as it is", lease.message.id)
            try:
                await self._queue.release(lease)
            except BackendError as error:
                _log.warning("execution %s goes on when its lease has run out: %s", lease.message.id, error)
        for task in self._tasks:
            task.cancel()
