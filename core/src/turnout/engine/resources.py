"""What actions keep for a worker's lifetime: connection pools and the like."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, Final, TypeVar

__all__ = ["Resources"]

T = TypeVar("T")

_THREADS: Final = 64


class _GivenUp(Exception):
    """The step that was making the thing was cancelled."""


class Resources:
    """Things by key, each made once, closed together at the end."""

    def __init__(self) -> None:
        self._made: dict[object, asyncio.Future[Any]] = {}
        self._close: list[Callable[[], Awaitable[None]]] = []
        self._threads: ThreadPoolExecutor | None = None

    async def get(self, key: object, make: Callable[[], Awaitable[T]], close: Callable[[T], Awaitable[None]]) -> T:
        """The thing of that key; of many first calls at once one makes it. A failure to make it is not remembered."""
        while (future := self._made.get(key)) is not None:
            try:
                thing: T = future.result() if future.done() else await asyncio.shield(future)
            except _GivenUp:
                continue
            return thing
        future = self._made[key] = asyncio.get_running_loop().create_future()
        try:
            made = await make()
        except BaseException as error:
            del self._made[key]
            # Whoever waits was not cancelled itself: it makes the thing then.
            future.set_exception(error if isinstance(error, Exception) else _GivenUp())
            future.exception()  # nobody may be waiting for it; asyncio would complain
            raise
        future.set_result(made)
        self._close.append(lambda: close(made))
        return made

    async def in_thread(self, run: Callable[..., T], *arguments: Any) -> T:
        """A blocking call's result. Its threads are of a pool of their own: those that hang may hold up other actions,
        never the stores."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="turnout-action")
        call = partial(copy_context().run, run, *arguments)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def close(self) -> None:
        """Close everything, the newest first; one that fails to close does not keep the others open."""
        closers, self._close = self._close[::-1], []
        self._made.clear()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None
        for result in await asyncio.gather(*(closer() for closer in closers), return_exceptions=True):
            if isinstance(result, BaseException) and not isinstance(result, Exception):
                raise result
