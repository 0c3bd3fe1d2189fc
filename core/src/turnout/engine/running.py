"""An execution in progress, as whoever holds its lease sees it: the handle to stop it by."""

from __future__ import annotations

import asyncio

from turnout.engine.outcome import Finished, Paused
from turnout.model.execution import ExecutionInfo

__all__ = ["Running"]


class Running:
    """Made before the execution is run, and given to `Engine.run`. A sub-execution runs under its parent's.

    `task` is what a stop interrupts, while there is something to interrupt. `paused` are the sub-executions, at any
    depth, that were begun here and wait or are parked; `steps` the steps in progress: kind and start, by path.
    `scope` is where a sub-execution stands below its root. `info` is what runs, from the moment its journal was read;
    `waited_s` how long after it was accepted it began, None where it began in an earlier process.
    """

    def __init__(self, parent: Running | None = None, *, scope: str = "") -> None:
        self.task: asyncio.Task[Finished | Paused] | None = None
        self.paused: set[str] = set() if parent is None else parent.paused
        self.steps: dict[str, tuple[str, float]] = {}
        self.scope = scope
        self.info: ExecutionInfo | None = None
        self.waited_s: float | None = None
        self.reason = ""
        self._parent = parent
        self._asked = False
        self._left = False
        self._handed_back = False

    def cancelled(self) -> bool:
        """Whether somebody asked; it may not have ended yet."""
        return self._asked

    def leaving(self) -> bool:
        """Whether the worker must let go of the execution: then nothing more is written."""
        return self._left or (self._parent is not None and self._parent.leaving())

    def cancel(self, reason: str = "") -> None:
        """Stop now, its sandbox too, and end as cancelled. Nothing happens to one whose end is being written."""
        if not self._asked:
            self._asked, self.reason = True, reason
            self._interrupt()

    def leave(self) -> None:
        """Stop now and write nothing more: the lease is lost, or the worker ends and hands the execution back."""
        self._left = True
        self._interrupt()

    def hand_back(self) -> None:
        """Stop now, write what was done and not written yet, and let go: the worker ends, its lease still holds."""
        self._handed_back = not self._left
        self.leave()

    def handed_back(self) -> bool:
        """Whether what was done may still be written on leaving."""
        return self._handed_back or (self._parent is not None and self._parent.handed_back())

    def _interrupt(self) -> None:
        if self.task is not None:
            self.task.cancel()
