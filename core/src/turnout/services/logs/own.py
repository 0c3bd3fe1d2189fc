"""What this process itself logs, shipped like what executions log: from memory, so that nothing waits for it, and what a process
dies with is lost."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import count
from typing import Final

from turnout.config import LogSettings
from turnout.errors import BackendError, TurnoutError
from turnout.interfaces.clock import Clock
from turnout.interfaces.log_sink import LogEntry, Shipped
from turnout.interfaces.service import Service
from turnout.services.logs.entries import at_least

__all__ = ["OwnLogs", "Write"]

Write = Callable[[str, Sequence[LogEntry]], Awaitable[Shipped]]

_WAITING: Final = 10_000
_BATCH: Final = 500
_EVERY_S: Final = 2.0
_FINISH_S: Final = 5.0
_LEVELS: Final = {"CRITICAL": "error", "ERROR": "error", "WARNING": "warning", "INFO": "info"}
_log = logging.getLogger("turnout.logs")


class OwnLogs(Service):
    """Gathers what is logged under `turnout` from `start` to `stop`, and gives it to `write` for each sink that wants it."""

    name = "own-logs"

    def __init__(self, sinks: Mapping[str, LogSettings], write: Write, clock: Clock) -> None:
        self._sinks = {name: sink for name, sink in sinks.items() if "platform" in sink.sources}
        self._write = write
        self._clock = clock
        self._handler = _Gathering(self._sinks)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if not self._sinks or self._task is not None:
            return
        logging.getLogger("turnout").addHandler(self._handler)
        self._task = asyncio.create_task(self._run(), name="own logs")

    async def stop(self) -> None:
        if self._task is None:
            return
        logging.getLogger("turnout").removeHandler(self._handler)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        try:
            async with asyncio.timeout(_FINISH_S):
                await self.flush()
        except TimeoutError:
            _log.warning("what this process logged last was not shipped: a log sink does not answer")

    async def flush(self) -> None:
        """Ship what has been gathered. A sink that fails gets it the next time, as much as there is room for."""
        for sink in self._sinks:
            waiting = self._handler.waiting[sink]
            while waiting:
                batch = [waiting.popleft() for _ in range(min(_BATCH, len(waiting)))]
                if not await self._ship(sink, batch):
                    break

    async def _ship(self, sink: str, batch: Sequence[LogEntry]) -> bool:
        dropped = self._handler.dropped[sink]
        said = f"{dropped} lines of this process's log were dropped unshipped"
        try:
            failed = frozenset(
                (await self._write(sink, [*batch, self._handler.entry(said)] if dropped else batch)).failed
            )
            self._handler.dropped[sink] -= dropped
        except TurnoutError as error:
            failed = frozenset(entry.id for entry in batch)
            if not isinstance(error, BackendError):
                raise
        self._handler.put_back(sink, [entry for entry in batch if entry.id in failed])
        return not failed

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(_EVERY_S)
            try:
                await self.flush()
            except Exception as error:  # it must not end: nobody else would ship what follows
                _log.debug("this process's own log cannot be shipped now: %s", error)


class _Gathering(logging.Handler):
    """Called from any thread; never waits."""

    def __init__(self, sinks: Mapping[str, LogSettings]) -> None:
        super().__init__()
        self._sinks = sinks
        self.waiting: dict[str, deque[LogEntry]] = {name: deque() for name in sinks}
        self.dropped = dict.fromkeys(sinks, 0)
        self._process = f"{socket.gethostname()}:{os.getpid()}"
        self._numbers = count(1)
        self._begun = time.time_ns()

    def emit(self, record: logging.LogRecord) -> None:
        level = _LEVELS.get(record.levelname, "debug")
        entry: LogEntry | None = None
        for name, sink in self._sinks.items():
            # Lines that belong to no customer are no business of a sink for some customers.
            if sink.customers or not at_least(level, sink.level):
                continue
            if entry is None:
                entry = self.entry(self.format(record), level, record.created, record.name)
            self._add(name, entry)

    def entry(
        self, message: str, level: str = "warning", at: float | None = None, logger: str = "turnout.logs"
    ) -> LogEntry:
        return LogEntry(
            id=f"{self._process}:{self._begun}:{next(self._numbers)}",
            at=time.time() if at is None else at,
            level=level,
            source="platform",
            message=message,
            attributes={"logger": logger, "process": self._process},
        )

    def put_back(self, sink: str, entries: Sequence[LogEntry]) -> None:
        waiting = self.waiting[sink]
        room = max(_WAITING - len(waiting), 0)
        self.dropped[sink] += max(len(entries) - room, 0)
        waiting.extendleft(reversed(entries[-room:] if room else []))

    def _add(self, sink: str, entry: LogEntry) -> None:
        waiting = self.waiting[sink]
        if len(waiting) >= _WAITING:
            self.dropped[sink] += 1
            return
        waiting.append(entry)
