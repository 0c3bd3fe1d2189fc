"""How an execution that a sender waits for ends, whoever runs it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from turnout.engine.backends import Backends
from turnout.engine.history import History
from turnout.errors import BackendError
from turnout.model.events import Ended
from turnout.model.execution import ExecutionRecord
from turnout.services.debounced import DEBOUNCED

__all__ = ["Waiting"]

_LOOK_S = 0.03
_LOOK_RARER = 1.2
"""So an answer is late by a fifth of what the execution took at most, or a second."""


class Waiting:
    def __init__(self, backends: Backends, recorded: Callable[[str], Awaitable[ExecutionRecord | None]]) -> None:
        self._backends = backends
        self._recorded = recorded

    async def end(self, id: str, ending: asyncio.Future[Ended], wait_s: float) -> Ended | None:
        """The end; None if it does not come in time, this service stops, or a newer execution took its place."""
        try:
            async with asyncio.timeout(wait_s):
                ended = await self._ended(id, ending)
        except (TimeoutError, asyncio.CancelledError):
            # Too long, or this service stops, which cancels what is waited for. If the sender has gone, so has the request.
            stopping = ending.cancelled()
            ending.cancel()
            if not stopping and (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            return None
        return None if ended.error is not None and ended.error.kind == DEBOUNCED else ended

    async def _ended(self, id: str, ending: asyncio.Future[Ended]) -> Ended:
        """The end: told here, or, where another process runs the execution, looked for in the journal, ever more rarely,
        and in the records once the journal has forgotten it. `TimeoutError` if neither has it: a person resumed it."""
        pause = _LOOK_S
        while True:
            done, _ = await asyncio.wait([ending], timeout=pause)
            if done:
                return ending.result()
            pause = min(_LOOK_RARER * pause, 1.0)
            try:
                rows = await self._backends.journal.rows(id)
                if not rows:
                    return await self._end_in_records(id)
            except BackendError:
                continue  # it is accepted already: an outage only delays the answer
            if (found := History.of(rows).ended) is not None:
                return found

    async def _end_in_records(self, id: str) -> Ended:
        record = await self._recorded(id)
        if record is None or record.ended_at is None:
            raise TimeoutError
        return Ended(at=record.ended_at, status=record.status, output=record.output, error=record.error)
