"""The heartbeat: renews the leases of what a worker runs, from a thread, whatever the worker's own event loop is busy with.

A loop that parses 100 MB of JSON must not lose its executions, and one that hangs must not hold them for ever: the thread
asks the loop for a sign of life with each beat, and renews nothing for one that has not answered for `stall_s`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

from turnout.errors import BackendError
from turnout.interfaces.clock import Clock
from turnout.interfaces.queue import Lease, LeaseState, Queue

__all__ = ["Heartbeat", "OpenQueue"]

OpenQueue = Callable[[], AbstractAsyncContextManager[Queue]]
"""Opens the queue once more, for another event loop, and closes it at the end of the block."""

_log = logging.getLogger("turnout.heartbeat")

_JOIN_S: Final = 5.0


@dataclass(slots=True, eq=False)
class _Held:
    """A lease and when it runs out by this machine's monotonic clock, which nobody sets."""

    lease: Lease
    until: float
    cancelled: bool = False


class Heartbeat:
    """Renews leases every `beat_s` between `start` and `stop`.

    `lost` and `cancelled` are called with the lease, on the loop that called `start`. A lease counts as lost when
    the queue says so, and, while the queue cannot be reached, once `lease_s` have passed since it was last renewed: until
    then the work goes on. Without `open_queue` (a queue in memory) it beats on the caller's loop, with its clock.
    """

    def __init__(
        self,
        queue: Queue,
        clock: Clock,
        *,
        lost: Callable[[Lease], None],
        cancelled: Callable[[Lease], None],
        lease_s: float = 30.0,
        beat_s: float = 0.5,
        stall_s: float = 60.0,
        open_queue: OpenQueue | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._clock = clock
        self._lost = lost
        self._cancelled = cancelled
        self._lease_s = lease_s
        self._beat_s = min(beat_s, lease_s / 3)
        self._stall_s = stall_s
        self._open_queue = open_queue
        self._monotonic = monotonic
        self._held: dict[str, _Held] = {}
        self._lock = threading.Lock()  # the held leases are the loop's and the thread's
        self._home: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None
        self._end: Callable[[], None] = lambda: None
        self._asked_at: float | None = None
        self._beaten_at = self._seen_at = monotonic()
        self._failing = False
        self._stalled = False
        self.failures = 0

    @property
    def lag_s(self) -> float:
        """How long ago the leases were last renewed, or there were none to renew."""
        return self._monotonic() - self._beaten_at

    @property
    def silent_s(self) -> float:
        """How long ago it last tried."""
        return self._monotonic() - self._seen_at

    @property
    def holds(self) -> int:
        """How many leases it renews."""
        return len(self._held)

    def hold(self, lease: Lease) -> None:
        """Renew this lease from now on, which was just given."""
        with self._lock:
            self._held[lease.message.id] = _Held(lease, self._monotonic() + self._lease_s)

    def let_go(self, lease: Lease) -> None:
        """Renew it no more. Nothing happens if it is not held."""
        with self._lock:
            held = self._held.get(lease.message.id)
            if held is not None and held.lease.token == lease.token:
                del self._held[lease.message.id]

    async def start(self) -> None:
        """Returns once it beats. `BackendError` if the queue cannot be opened again. Nothing happens if it beats."""
        if self._home is not None:
            return
        self._home = asyncio.get_running_loop()
        self._beaten_at = self._seen_at = self._monotonic()
        if self._open_queue is None:
            self._task = asyncio.ensure_future(self._beat_here())
            return
        opened: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(
            target=self._beat_in_thread, args=(self._open_queue, opened), name="turnout-heartbeat", daemon=True
        )
        self._thread.start()
        try:
            await asyncio.wrap_future(opened)
        except BaseException:
            self._home = None
            raise

    async def stop(self) -> None:
        """Beat no more; what is held runs out by itself. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._thread is not None:
            self._end()
            await asyncio.to_thread(self._thread.join, _JOIN_S)
        self._task = self._thread = self._home = None

    async def _beat_here(self) -> None:
        while True:
            await self._clock.sleep(self._beat_s)
            self._seen_at = self._monotonic()
            await self._beat(self._queue)

    def _beat_in_thread(self, open_queue: OpenQueue, opened: concurrent.futures.Future[None]) -> None:
        async def beat() -> None:
            loop, ended = asyncio.get_running_loop(), asyncio.Event()

            def end() -> None:
                with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                    loop.call_soon_threadsafe(ended.set)

            self._end = end
            async with open_queue() as queue:
                opened.set_result(None)
                while not ended.is_set():
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(ended.wait(), self._beat_s)
                    self._seen_at = self._monotonic()
                    if self._ask_home():
                        await self._beat(queue)
                    else:
                        self._lose_what_ran_out()

        try:
            asyncio.run(beat())
        except BaseException as error:
            if opened.done():
                _log.exception("the heartbeat has stopped: executions here are lost when their leases run out")
            else:
                opened.set_exception(error)

    def _ask_home(self) -> bool:
        """Ask the worker's loop for a sign of life; False once it has given none for `stall_s`."""
        now, asked_at = self._monotonic(), self._asked_at
        if asked_at is None:  # the loop may answer from here on
            self._asked_at = asked_at = now
            self._tell(self._answer)
        stalled = now - asked_at > self._stall_s
        if stalled and not self._stalled:
            _log.error("this worker has not answered for %g s: its executions go to others", now - asked_at)
        self._stalled = stalled
        return not stalled

    def _answer(self) -> None:
        self._asked_at = None

    async def _beat(self, queue: Queue) -> None:
        with self._lock:
            held = list(self._held.values())
        sent = self._monotonic()
        try:
            async with asyncio.timeout(self._lease_s / 3):
                states = await queue.extend([one.lease for one in held]) if held else ()
        except Exception as error:  # whatever it is, the next beat may do better, and nobody else would tell
            self._tell_of(error)
            self._lose_what_ran_out()
            return
        self._failing = False
        self._beaten_at = self._monotonic()
        self._apply(held, states, sent)

    def _apply(self, held: Sequence[_Held], states: Sequence[LeaseState], sent: float) -> None:
        for one, state in zip(held, states, strict=True):
            match state:
                case LeaseState.LOST:
                    self._lose(one)
                case LeaseState.CANCELLED if not one.cancelled:
                    one.cancelled, one.until = True, sent + self._lease_s
                    self._tell(self._cancelled, one.lease)
                case LeaseState.CANCELLED | LeaseState.HELD:
                    one.until = sent + self._lease_s

    def _tell_of(self, error: Exception) -> None:
        self.failures += 1
        if not self._failing:
            _log.warning(
                "leases cannot be renewed, trying again for as long as they last: %s",
                str(error) or "the queue does not answer",
                exc_info=None if isinstance(error, BackendError | TimeoutError) else error,
            )
        self._failing = True

    def _lose_what_ran_out(self) -> None:
        now = self._monotonic()
        with self._lock:
            ran_out = [one for one in self._held.values() if one.until <= now]
        for one in ran_out:
            self._lose(one)

    def _lose(self, held: _Held) -> None:
        self.let_go(held.lease)
        self._tell(self._lost, held.lease)

    def _tell(self, what: Callable[..., None], *arguments: Lease) -> None:
        """Call it on the worker's loop."""
        home = self._home
        if self._task is not None:
            what(*arguments)
        elif home is not None:
            with contextlib.suppress(RuntimeError):  # it has ended
                home.call_soon_threadsafe(what, *arguments)
