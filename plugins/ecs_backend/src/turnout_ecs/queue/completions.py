"""Leases that end in the same turn of the event loop end in one call of one script: half of what a busy worker asks."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Final

from turnout.errors import BackendError
from turnout.interfaces.queue import Lease

from turnout_ecs.queue.shards import Shard

__all__ = ["Completions"]

_MOST: Final = 100

_Waiting = tuple[Lease, asyncio.Future[bool]]


class Completions:
    """Those of one event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[Shard, list[_Waiting]] = {}

    def add(self, shard: Shard, lease: Lease) -> asyncio.Future[bool]:
        """Complete it with all others of this turn; the future has whether the lease was held."""
        if not self._waiting:
            self._loop.call_soon(self._send)
        completed: asyncio.Future[bool] = self._loop.create_future()
        waiting = self._waiting.setdefault(shard, [])
        waiting.append((lease, completed))
        return completed

    def _send(self) -> None:
        by_shard, self._waiting = self._waiting, {}
        for shard, waiting in by_shard.items():
            for start in range(0, len(waiting), _MOST):
                part = waiting[start : start + _MOST]
                words = [word for lease, _ in part for word in (lease.message.id, lease.token)]
                try:
                    asked = shard.run("complete", *words)
                except BackendError as error:  # the connection was closed in this turn
                    asked = self._loop.create_future()
                    asked.set_exception(error)
                asked.add_done_callback(partial(_tell, part))


def _tell(waiting: list[_Waiting], done: asyncio.Future[Any]) -> None:
    error = asyncio.CancelledError() if done.cancelled() else done.exception()
    for place, (_, completed) in enumerate(waiting):
        if completed.done():
            continue
        if error is None:
            completed.set_result(done.result()[place] == 1)
        else:
            completed.set_exception(error)
