"""Which queue message an execution belongs to: a sub-execution runs under its root's lease."""

from __future__ import annotations

from turnout.engine.history import History
from turnout.errors import NotFound
from turnout.interfaces.journal import Journal

__all__ = ["root_of"]


async def root_of(journal: Journal, execution: str) -> tuple[str, str]:
    """The root's id, and the tenant. `NotFound` if the journal does not know the execution."""
    current = execution
    while True:
        info = History.of((await journal.rows(current))[:1]).info
        if info is None:
            raise NotFound("execution", current, hint="it has ended, or never was")
        if not info.parent:
            return current, info.tenant
        current = info.parent
