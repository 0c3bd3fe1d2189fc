"""The end of an execution whose place a newer one took while it waited: written without running anything of it."""

from __future__ import annotations

from typing import Final

from turnout.codec import encode_event
from turnout.engine.backends import Backends
from turnout.engine.history import History
from turnout.engine.outcome import Finished
from turnout.engine.running import Running
from turnout.engine.tracing import trace_end
from turnout.errors import NotFound
from turnout.interfaces.journal import Row
from turnout.interfaces.queue import Lease
from turnout.model.events import Ended
from turnout.model.execution import ErrorInfo, Status

__all__ = ["DEBOUNCED", "end_debounced"]

DEBOUNCED: Final = "debounced"
"""The kind of its error."""


async def end_debounced(backends: Backends, lease: Lease, running: Running) -> Finished:
    """Write the execution's end, durably: cancelled, the error naming the one that took its place. `Fenced` as the engine."""
    id, journal = lease.message.id, backends.journal
    history = History.of(await journal.open(id, lease.token))
    if history.info is None:
        raise NotFound("execution", id, hint="its journal is empty")
    if history.ended is not None and history.ended.status.final:
        return Finished(status=history.ended.status, error=history.ended.error)
    running.info = history.info
    message = (
        f"execution {lease.superseded_by} took its place: it came within the debounce of flow {history.info.flow!r}"
    )
    ended = Ended(at=backends.clock.now(), status=Status.CANCELLED, error=ErrorInfo(kind=DEBOUNCED, message=message))
    await journal.append(id, lease.token, [Row(*encode_event(ended))])
    await journal.barrier(id, lease.token)
    backends.observe(id, ended)
    trace_end(backends.tracing, history, ended)
    return Finished(status=ended.status, error=ended.error)
