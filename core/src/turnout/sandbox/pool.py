"""The pool: processes that are warm before they are asked for, each used for one execution and then ended, or renewed.

Two kinds wait on the shelf. Generic ones have run nobody's code. Specialised ones have loaded the modules of one bundle for
one tenant, and go to that tenant for that bundle or to nobody. Whoever acquires gets a specialised one if there is one, else a
generic one, else the next that becomes ready, which may be one that is just being specialised for it. How many run at once is
bounded, and tenants take turns in the queue.

Where processes are used again (`renew`), a released one goes back to the shelf of its own tenant and bundle, never to another's.

A process made ahead costs what it costs later, so making it ahead wastes nothing if it is used. It is not started at a lower
priority, which it could not leave without a privilege when its turn comes: while anything runs, one is made at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from turnout.errors import BackendError
from turnout.interfaces.clock import Clock, SystemClock
from turnout.interfaces.sandbox import CodeBundle, Limits, SandboxStats
from turnout.sandbox.process import NodeProcess
from turnout.sandbox.shelf import Shelf

__all__ = ["Pool", "PoolSizes"]

_log = logging.getLogger(__name__)
_Key = tuple[str, str, Limits]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSizes:
    """`floor` generic processes are kept warm, at most `ceiling` of both kinds; at most `running` are in use at once.

    `makers` start at the same time; one at a time for the shelf if anything runs, so that running code keeps its processors,
    and only after `patience_s`. `keys` tenants' bundles at most are kept specialised, each for `expire_s` after its last use;
    every `look_s` those that nobody needs are ended.
    """

    floor: int
    ceiling: int
    running: int
    makers: int
    patience_s: float = 0.03
    keys: int = 8
    expire_s: float = 60.0
    look_s: float = 10.0


@dataclass(slots=True, eq=False)
class _Waiter:
    """Somebody to whom a place has been given, and who waits for a process."""

    key: _Key
    bundle: CodeBundle
    process: asyncio.Future[NodeProcess]


class Pool:
    """Of one event loop. `make` starts a generic process, `prepare` makes it a specialised one. `renew` makes a released one
    fit for another execution of the same tenant and bundle, or says that it is not; without it each is used once."""

    def __init__(
        self,
        sizes: PoolSizes,
        make: Callable[[Limits], Awaitable[NodeProcess]],
        prepare: Callable[[NodeProcess, CodeBundle], Awaitable[None]],
        clock: Clock | None = None,
        renew: Callable[[NodeProcess], Awaitable[bool]] | None = None,
    ) -> None:
        self._sizes = sizes
        self._renew = renew
        self._renewals: set[asyncio.Task[None]] = set()
        self._clock = clock or SystemClock()
        self._looking: asyncio.Task[None] | None = None
        self._make = make
        self._prepare = prepare
        self._alive: set[NodeProcess] = set()
        self._usual = Limits()
        self._generic: deque[NodeProcess] = deque()
        self._shelves: OrderedDict[_Key, Shelf] = OrderedDict()
        self._running: dict[NodeProcess, _Key] = {}
        self._places = sizes.running
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._waiters: deque[_Waiter] = deque()
        self._makers: set[asyncio.Task[None]] = set()
        self._making_for_waiters: Counter[Limits] = Counter()
        self._making_generic = 0
        self._making_for_shelf = 0
        self._failed = False
        self._closed = False
        self._shelf_due = 0.0
        self._shelf_timer: asyncio.TimerHandle | None = None

    @property
    def renews(self) -> bool:
        """Whether processes come back to their tenant."""
        return self._renew is not None

    @property
    def warm(self) -> int:
        """How many wait on the shelf, of both kinds."""
        return len(self._generic) + sum(len(shelf.ready) for shelf in self._shelves.values())

    def stats(self) -> SandboxStats:
        waiting = sum(len(queue) for queue in self._queues.values()) + len(self._waiters)
        return SandboxStats(idle=self.warm, busy=len(self._running), waiting=waiting)

    async def warm_up(self) -> None:
        """Fill the shelf. `BackendError` if the first process does not start."""
        for _ in range(self._sizes.floor):
            self._generic.append(await self._make_process(self._usual))

    async def acquire(self, tenant: str, bundle: CodeBundle, limits: Limits) -> NodeProcess:
        """A process for this tenant and bundle alone; give it back with `release`. `BackendError` if none starts."""
        await self._place(tenant)
        key = (tenant, bundle.hash, limits)
        try:
            process = self._take(key, bundle) or await self._wait(key, bundle)
        except BaseException:
            self._free_place()
            raise
        now = asyncio.get_running_loop().time()
        if now >= self._shelf_due:
            self._shelf_due = now + self._sizes.patience_s
        self._running[process] = key
        self._balance()
        return process

    def release(self, process: NodeProcess, *, sound: bool = False) -> bool:
        """Take back a process that `acquire` gave: end it, or renew it if it is `sound`. Says whether it lives on. Idempotent."""
        key = self._running.pop(process, None)
        kept = sound and key is not None and self._renew is not None and not self._closed
        if not kept:
            process.kill()
        elif key is not None:
            self._renew_for(key, process)
        if key is not None:
            self._leave()
        return kept

    def _leave(self) -> None:
        if len(self._running) < self._sizes.makers:
            self._shelf_due = 0.0  # a processor is free: make the next at once
        self._free_place()
        self._balance()

    async def settle(self) -> None:
        """Wait until nothing is being made or renewed."""
        while tasks := self._makers | self._renewals:
            await asyncio.wait(tasks)

    async def close(self) -> None:
        """End all. Idempotent."""
        self._closed = True
        tasks = [*self._makers, *self._renewals, *([self._looking] if self._looking else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._turn_away()
        for key in tuple(self._shelves):
            self._forget(key)
        await asyncio.gather(*(process.end() for process in tuple(self._alive)))
        self._generic.clear()
        self._running.clear()

    def _turn_away(self) -> None:
        """Tell who still waits, for a place or a process."""
        if self._shelf_timer:
            self._shelf_timer.cancel()
        waiting: list[asyncio.Future[Any]] = [waiter.process for waiter in self._waiters]
        for queue in self._queues.values():
            waiting += queue
        for future in waiting:
            if not future.done():
                future.set_exception(BackendError("the sandbox has been closed"))

    async def _make_process(self, limits: Limits) -> NodeProcess:
        process = await self._make(limits)
        self._alive.add(process)
        process.channel.closed.add_done_callback(lambda _: self._alive.discard(process))
        return process

    async def _place(self, tenant: str) -> None:
        """Wait for one of the places, behind this tenant's own calls but not behind another's backlog."""
        if self._closed:
            raise BackendError("the sandbox has been closed")
        if self._places and not self._queues:
            self._places -= 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(tenant, deque()).append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._free_place()
            raise

    def _free_place(self) -> None:
        self._places += 1
        while self._places and self._queues:
            tenant, queue = self._queues.popitem(last=False)
            place = queue.popleft()
            if queue:
                self._queues[tenant] = queue
            if not place.done():
                self._places -= 1
                place.set_result(None)

    def _take(self, key: _Key, bundle: CodeBundle) -> NodeProcess | None:
        """What is ready for the key; processes that died on the shelf are passed over."""
        shelf = self._remember(key, bundle)
        if (process := shelf.take()) is not None:
            return process
        while self._generic and key[2] == self._usual:
            process = self._generic.popleft()
            if process.alive:
                return process
        return None

    async def _wait(self, key: _Key, bundle: CodeBundle) -> NodeProcess:
        waiter = _Waiter(key, bundle, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        self._balance()
        try:
            return await waiter.process
        except asyncio.CancelledError:
            if waiter.process.done() and not waiter.process.cancelled() and not waiter.process.exception():
                waiter.process.result().kill()
            raise
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _remember(self, key: _Key, bundle: CodeBundle) -> Shelf:
        """Keep specialised processes for who came last; forget who has not come for long."""
        now = self._clock.now()
        shelf = self._shelves.get(key)
        if shelf is None:
            shelf = self._shelves[key] = Shelf(bundle, now)
        elif not shelf.ready:
            shelf.missed(self._deepest, self._lent()[key])
        shelf.used_at = now
        self._shelves.move_to_end(key)
        while len(self._shelves) > self._sizes.keys:
            self._forget(next(iter(self._shelves)))
        if self._looking is None:
            self._looking = asyncio.ensure_future(self._look())
        return shelf

    @property
    def _deepest(self) -> int:
        """One key never takes the whole shelf."""
        return max(1, self._sizes.ceiling - self._sizes.floor - 1)

    async def _look(self) -> None:
        """See, as long as there are any, which specialised processes nobody needs."""
        while self._shelves:
            await self._clock.sleep(self._sizes.look_s)
            now = self._clock.now()
            for key, shelf in tuple(self._shelves.items()):
                shelf.look(now, again_s=self._sizes.expire_s)
                if now - shelf.used_at >= self._sizes.expire_s:
                    self._forget(key)
            self._balance()
        self._looking = None

    def _forget(self, key: _Key) -> None:
        if (shelf := self._shelves.pop(key, None)) is not None:
            shelf.clear()

    def _balance(self) -> None:
        """Start making what is missing: first for those who wait, then for the shelf."""
        while not self._closed and len(self._makers) < self._sizes.makers:
            if (waiter := self._unserved()) is not None:
                self._making_for_waiters[waiter.key[2]] += 1
                self._start(self._make_for_waiter(waiter.key[2]))
            elif self._failed or not self._may_fill_shelf():
                return
            elif (key := self._wanted()) is not None:
                shelf = self._shelves[key]
                shelf.making += 1
                self._making_for_shelf += 1
                self._start(self._make_special(key, shelf))
            elif len(self._generic) + self._making_generic < self._sizes.floor and self._room:
                self._making_generic += 1
                self._making_for_shelf += 1
                self._start(self._make_generic())
            else:
                return

    def _unserved(self) -> _Waiter | None:
        """The first who waits and for whom nothing is on its way."""
        if not self._waiters:
            return None
        special = Counter({key: shelf.promising for key, shelf in self._shelves.items()})
        generic = self._making_for_waiters.copy()
        for waiter in self._waiters:
            key, limits = waiter.key, waiter.key[2]
            if special[key]:
                special[key] -= 1
            elif generic[limits]:
                generic[limits] -= 1
            else:
                return waiter
        return None

    def _may_fill_shelf(self) -> bool:
        """Never while somebody waits, at once when nothing runs; otherwise after a moment, for running code needs processors."""
        loop = asyncio.get_running_loop()
        if self._waiters:
            return False
        if not self._running:
            return True
        if self._making_for_shelf:
            return False
        if loop.time() >= self._shelf_due:
            return True
        if self._shelf_timer is None:
            self._shelf_timer = loop.call_at(self._shelf_due, self._fill_shelf)
        return False

    def _fill_shelf(self) -> None:
        self._shelf_timer = None
        self._balance()

    def _start(self, making: Awaitable[None]) -> None:
        task = asyncio.ensure_future(making)
        self._makers.add(task)
        task.add_done_callback(self._made)

    def _made(self, task: asyncio.Task[None]) -> None:
        self._makers.discard(task)
        if not self._closed:
            self._balance()

    @property
    def _room(self) -> bool:
        """Whether another may be made for the shelf."""
        return self.warm + self._making_for_shelf < self._sizes.ceiling

    def _lent(self) -> Counter[_Key]:
        """How many of each will come back."""
        return Counter(self._running.values() if self._renew else ())

    def _wanted(self) -> _Key | None:
        """The key, latest first, that has fewer specialised processes than it should."""
        lent = self._lent()
        wanted = next((key for key, shelf in reversed(self._shelves.items()) if shelf.lacks(lent[key])), None)
        if wanted is None or self._room:
            return wanted
        richest = max(self._shelves.values(), key=lambda shelf: len(shelf.ready))
        if self._shelves[wanted].is_bare and len(richest.ready) > 1:
            richest.ready.popleft().kill()
            return wanted
        return None

    async def _make_for_waiter(self, limits: Limits) -> None:
        try:
            process = await self._make_process(limits)
        except BackendError as error:
            waiting = (waiter.process for waiter in self._waiters if waiter.key[2] == limits)
            if (first := next((process for process in waiting if not process.done()), None)) is not None:
                first.set_exception(error)
            return
        finally:
            self._making_for_waiters[limits] -= 1
        self._failed = False
        self._offer(process)

    async def _make_generic(self) -> None:
        try:
            self._offer(await self._make_process(self._usual))
        except BackendError as error:
            self._give_up(error)
        finally:
            self._making_for_shelf -= 1
            self._making_generic -= 1

    async def _make_special(self, key: _Key, shelf: Shelf) -> None:
        process = self._spare(key)
        try:
            process = process or await self._make_process(key[2])
            await self._prepare(process, shelf.bundle)
        except BackendError as error:
            shelf.failed(self._clock.now())
            _log.debug("no process could be prepared for %s of %s: %s", key[1][:12], key[0], error)
        else:
            self._offer_special(key, process)
        finally:
            shelf.making -= 1
            self._making_for_shelf -= 1

    def _renew_for(self, key: _Key, process: NodeProcess) -> None:
        """Somebody may already wait for it: it counts as one that is on its way."""
        shelf = self._shelves.get(key)
        if shelf is None or self.warm - len(self._generic) >= self._sizes.ceiling:
            process.kill()
            return
        shelf.making += 1
        task = asyncio.ensure_future(self._renewed(key, shelf, process))
        self._renewals.add(task)
        task.add_done_callback(self._renewals.discard)

    async def _renewed(self, key: _Key, shelf: Shelf, process: NodeProcess) -> None:
        assert self._renew is not None
        fit = False
        try:
            fit = await self._renew(process)
        finally:
            shelf.making -= 1
            if fit:
                self._offer_special(key, process)
            else:
                process.kill()
                self._balance()

    def _spare(self, key: _Key) -> NodeProcess | None:
        """A generic process to specialise, if more are ready than the floor asks for."""
        spare = key[2] == self._usual and len(self._generic) > self._sizes.floor and not self._waiters
        return self._generic.popleft() if spare else None

    def _offer(self, process: NodeProcess) -> None:
        """To the first who waits for one of its limits, else to the shelf."""
        for waiter in self._waiters:
            if not waiter.process.done() and waiter.key[2] == process.limits:
                waiter.process.set_result(process)
                self._waiters.remove(waiter)
                return
        if process.limits == self._usual and self.warm < self._sizes.ceiling and not self._closed:
            self._generic.append(process)
        else:
            process.kill()

    def _offer_special(self, key: _Key, process: NodeProcess) -> None:
        for waiter in self._waiters:
            if not waiter.process.done() and waiter.key == key:
                waiter.process.set_result(process)
                self._waiters.remove(waiter)
                return
        shelf = self._shelves.get(key)
        if shelf is None or self._closed:
            process.kill()
        else:
            shelf.add(process)

    def _give_up(self, error: BackendError) -> None:
        """Do not try again by itself: the next acquire does, and tells whoever asked."""
        self._failed = True
        _log.warning("no process could be made ready ahead of time: %s", error)
