"""What people do with dead letters: look, try again, give up for good. Queue and record change together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from turnout.errors import NotFound
from turnout.interfaces.queue import DeadMessage, Queue
from turnout.interfaces.records import RecordStore
from turnout.local.operations import Operations
from turnout.model.execution import ExecutionRecord
from turnout.services.metadata import Metadata
from turnout.services.recovery import Recovery

__all__ = ["DeadLetter", "DeadLetters"]

_MOST: Final = 100_000
_FIRST: Final = 100
"""Among so many is the one looked for, mostly: further back is looked only if it is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message that used up its attempts, and the record of its execution, None where retention has removed it."""

    message: DeadMessage
    record: ExecutionRecord | None

    @property
    def id(self) -> str:
        return self.message.message.id

    @property
    def step(self) -> str:
        """The step that it got to: the last that began, or empty."""
        return self.record.steps[-1].path if self.record is not None and self.record.steps else ""


class DeadLetters:
    """Works on stores alone; `metadata` need not be running."""

    def __init__(
        self, queue: Queue, records: RecordStore, metadata: Metadata, recovery: Recovery, operations: Operations
    ) -> None:
        self._queue = queue
        self._records = records
        self._metadata = metadata
        self._recovery = recovery
        self._operations = operations

    async def list(self, *, limit: int = _MOST) -> Sequence[DeadLetter]:
        """The newest first."""
        await self._settle()
        found = await self._queue.dead(limit=limit)
        return [DeadLetter(message=dead, record=await self._records.get(dead.message.id)) for dead in found]

    async def get(self, id: str) -> DeadLetter:
        """`NotFound` if there is no dead letter of that id."""
        await self._settle()
        limit, found = _FIRST, await self._queue.dead(limit=_FIRST)
        while len(found) == limit and limit < _MOST and all(dead.message.id != id for dead in found):
            limit *= 10
            found = await self._queue.dead(limit=limit)
        for dead in found:
            if dead.message.id == id:
                return DeadLetter(message=dead, record=await self._records.get(id))
        raise NotFound("dead letter", id, hint="`turnout queue dead list` shows those that there are")

    async def retry(self, letter: DeadLetter) -> None:
        """Let the execution go on from where it stopped, its attempts starting over; the record is queued again."""
        if letter.record is None:
            await self._queue.revive(letter.id)
        else:
            await self._operations.resume(letter.id)

    async def drop(self, letter: DeadLetter) -> None:
        """Remove the message. The record stays as it is, failed; `turnout executions resume` can still go on with it."""
        await self._queue.drop(letter.id)

    async def _settle(self) -> None:
        """Give those their end that no worker has given it yet."""
        await self._recovery.bury()
        await self._metadata.catch_up()
