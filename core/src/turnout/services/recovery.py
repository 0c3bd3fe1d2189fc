"""Recovery: the control plane's part of every worker. It takes back what dead workers held, queues what was accepted and
never queued, and gives those that used up their attempts their end, so that no execution stays running for ever.

It may run in any number of processes: each thing is done once, or harmlessly twice.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable, Collection, Sequence
from typing import Final

from turnout.codec import encode_event
from turnout.engine.history import History
from turnout.engine.tracing import Tracing, trace_end
from turnout.errors import BackendError
from turnout.interfaces.clock import Clock
from turnout.interfaces.journal import Journal, Row
from turnout.interfaces.queue import DeadMessage, Lease, Message, Queue
from turnout.interfaces.service import Invocation, Needs, Service
from turnout.model.events import Ended, Event
from turnout.model.execution import ErrorInfo, ExecutionInfo, Status, parent_id

__all__ = ["Recovery"]

_IDS: Final = 500
"""Ids that the queue is asked about in one call."""

_log = logging.getLogger("turnout.recovery")


class Recovery(Service):
    """Reaps every `beat_s` or so, sweeps every `sweep_s` or so, between `start` and `stop`.

    `dead_workers` picks those of the workers' names that are known to have ended; the leases of the others run out. It is
    asked only when `any_ended` says that one may have: to name all who hold leases costs a queue something for each lease.
    `settle_s` is how old an execution must be before it counts as forgotten by whoever was about to queue it. `observe`
    and `tracing` see the ends that are written here.
    """

    name = "recovery"
    needs = Needs(long_lived=True, in_calls=True)

    def __init__(
        self,
        queue: Queue,
        journal: Journal,
        clock: Clock,
        *,
        message_of: Callable[[ExecutionInfo], Message],
        observe: Callable[[str, Event], None] = lambda execution, event: None,
        tracing: Tracing | None = None,
        dead_workers: Callable[[Sequence[str]], Collection[str]] = lambda workers: (),
        any_ended: Callable[[], bool] = lambda: True,
        beat_s: float = 1.0,
        sweep_s: float = 30.0,
        settle_s: float = 30.0,
    ) -> None:
        self._queue = queue
        self._journal = journal
        self._clock = clock
        self._message_of = message_of
        self._observe = observe
        self._tracing = tracing
        self._dead_workers = dead_workers
        self._any_ended = any_ended
        self._beat_s = beat_s
        self._sweep_s = sweep_s
        self._settle_s = settle_s
        self._ended: set[tuple[str, float]] = set()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def recover(self) -> int:
        """Everything at once, for a start after a crash: also what was accepted a moment ago, and what is held back for a
        submitter that is no more. How many can go on."""
        going_on = {lease.message.id for lease in await self._reap(await self._ended_workers())}
        await self.bury()
        going_on.update(await self.requeue(settle_s=0.0))
        return len(going_on) + await self._wake_unbegun(going_on)

    async def reap(self) -> Sequence[Lease]:
        """End the leases that have run out and those of workers that are known to be dead; their executions are due."""
        return await self._reap(await self._ended_workers() if self._any_ended() else ())

    async def _ended_workers(self) -> Collection[str]:
        return self._dead_workers(await self._queue.workers())

    async def _reap(self, ended: Collection[str]) -> Sequence[Lease]:
        lost = await self._queue.reap(workers=ended)
        if lost:
            await self.fence(lost)
            await self.bury({lease.message.id for lease in lost})
        return lost

    async def fence(self, lost: Sequence[Lease]) -> None:
        """Keep whoever lost these leases from writing more, to sub-executions as well."""
        below: dict[str, list[str]] = {lease.message.id: [] for lease in lost}
        for id in await self._journal.unfinished():
            if (root := _root(id)) in below and root != id:
                below[root].append(id)
        for lease in lost:
            for execution in (lease.message.id, *below[lease.message.id]):
                await self._journal.fence(execution, lease.token)

    async def bury(self, ids: Collection[str] | None = None, *, settle_s: float = 0.0) -> None:
        """Give executions that used up their attempts their end, and their sub-executions: these, or all that are dead for
        `settle_s`, whose worker died before it could.

        Each is for the worker that ended its last lease: two that did it at the same moment would write two ends."""
        limit = 100
        while True:
            dead = await self._queue.dead(limit=limit)
            new = [letter for letter in dead if (letter.message.id, letter.died_at) not in self._ended]
            # They come newest first: where the oldest is known, so are those before it.
            if len(dead) < limit or len(new) < len(dead):
                break
            limit *= 10
        latest = self._clock.now() - settle_s if settle_s else math.inf
        mine = [letter for letter in new if letter.message.id in ids] if ids is not None else new
        for letter in mine:
            if letter.died_at <= latest:
                await self._end(letter)
        self._ended |= {(letter.message.id, letter.died_at) for letter in mine if letter.died_at <= latest}
        if len(dead) < limit:
            self._ended &= {(letter.message.id, letter.died_at) for letter in dead}

    async def _end(self, letter: DeadMessage) -> None:
        id = letter.message.id
        history = History.of(await self._journal.rows(id))
        if history.info is None or history.ended is not None:
            return
        message = (
            f"given up after {letter.attempts} attempts: {letter.reason or 'its workers died while they ran it'}. "
            f"`turnout executions resume {id}` tries again from where it was"
        )
        called = [other for other in await self._journal.unfinished() if other != id and _root(other) == id]
        for execution in (*called, id):
            error = ErrorInfo(kind="dead_letter", message=message)
            ended = Ended(at=self._clock.now(), status=Status.FAILED, error=error)
            known = history if execution == id else History.of(await self._journal.rows(execution))
            # Nobody holds it: the message is dead, and each lease of it is lost.
            if await self._journal.signal(execution, Row(*encode_event(ended))):
                self._observe(execution, ended)
                trace_end(self._tracing, known, ended)
        _log.error("execution %s: %s", id, message)

    async def requeue(self, *, settle_s: float | None = None) -> Sequence[str]:
        """Queue what was accepted, or let go on by a person, by a process that died before it could; their ids."""
        accepted = [id for id in await self._journal.unfinished() if not parent_id(id)]
        oldest = self._clock.now() - (self._settle_s if settle_s is None else settle_s)
        queued = []
        for first in range(0, len(accepted), _IDS):
            for id in await self._queue.missing(accepted[first : first + _IDS]):
                # Read after the queue was asked: one that has just left it has its end in the journal before that.
                history = History.of(await self._journal.rows(id))
                if history.info is None or history.ended is not None or history.info.created_at > oldest:
                    continue
                if await self._queue.put(self._message_of(history.info)):
                    queued.append(id)
        if queued:
            _log.warning("%d executions were accepted and not queued: they are now", len(queued))
        return queued

    async def _wake_unbegun(self, known: Collection[str]) -> int:
        """One that has not begun may be held back for its submitter, which would have claimed it at once."""
        woken = 0
        for id in await self._journal.unfinished():
            if id in known or parent_id(id):
                continue
            history = History.of(await self._journal.rows(id))
            held = history.info is not None and history.began_at is None and history.ended is None
            woken += held and not _debounced(history) and await self._queue.wake(id)
        return woken

    async def work(self, call: Invocation) -> None:
        """What `start` would do in a minute, once."""
        await self.reap()
        await self.bury(settle_s=self._settle_s)
        await self.requeue()

    async def _run(self) -> None:
        sweep_at = self._clock.now() + self._spread(self._sweep_s)
        while True:
            await self._clock.sleep(self._spread(self._beat_s))
            try:
                await self.reap()
                if self._clock.now() >= sweep_at:
                    sweep_at = self._clock.now() + self._spread(self._sweep_s)
                    await self.bury(settle_s=self._settle_s)
                    await self.requeue()
            except Exception as error:  # whatever it is, nobody else would tell, and the next try may do better
                unknown = not isinstance(error, BackendError)
                _log.warning("cannot take back what dead workers held, trying again: %s", error, exc_info=unknown)

    @staticmethod
    def _spread(seconds: float) -> float:
        """Workers that were started together must not all ask at the same moment."""
        return seconds * random.uniform(0.8, 1.2)  # noqa: S311 - no secret


def _debounced(history: History) -> bool:
    """Whether it waits for others that may come, and not for its submitter."""
    limits = None if history.info is None else history.info.limits
    return limits is not None and limits.debounce is not None


def _root(id: str) -> str:
    while parent := parent_id(id):
        id = parent
    return id
