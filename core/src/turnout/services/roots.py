"""Executions and what they called: a sub-execution runs under its root's lease, and its rows stay as long as its root's."""

from __future__ import annotations

from turnout.engine.history import History
from turnout.errors import NotFound
from turnout.interfaces.journal import Journal
from turnout.interfaces.records import ExecutionQuery, RecordStore
from turnout.model.execution import ExecutionRecord

__all__ = ["below", "root_of"]

_PAGE = 500


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


async def below(records: RecordStore, execution: str) -> list[ExecutionRecord]:
    """The sub-executions that an execution called, and those that they called; without their steps."""
    found: list[ExecutionRecord] = []
    callers = [execution]
    while callers:
        caller, before = callers.pop(), ""
        while page := await records.search(ExecutionQuery(parent=caller, before=before, limit=_PAGE)):
            found += page
            callers += [record.info.id for record in page]
            before = page[-1].info.id
            if len(page) < _PAGE:
                break
    return found
