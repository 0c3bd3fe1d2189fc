"""What a process prints: lines of its log, up to a budget, without V8's own last words."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final

from turnout.model.execution import LogLine

__all__ = ["LogBudget", "Printed"]

_LEVELS: Final = frozenset({"debug", "info", "warning", "error"})
_LAST_WORDS: Final = re.compile(
    r"^(FATAL ERROR:|<---|\[\d+:0x|\s*\d+: 0x[0-9a-f]+ |-----|# ?|==== |terminate called|\s+what\(\):)|^\s*$"
)
_NO_MEMORY: Final = re.compile(r"heap out of memory|Allocation failed|bad_alloc|out of memory", re.IGNORECASE)
_LONGEST_LINE: Final = 64 * 1024
_MOST_IGNORED: Final = 10_000
_LAST_LINES: Final = 100
"""Where V8's last words are, looked for alone once nothing else of the stream counts: a flood costs what a trickle does."""
_LINE_BYTES: Final = 16
"""What a line takes of the budget beside its text: lines without any are not for nothing."""


class LogBudget:
    """Passes log lines on until `limit_bytes` are used up, says so once, and drops the rest."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._left = limit_bytes
        self.sink: Callable[[LogLine], None] | None = None
        self._early: list[LogLine] = []

    @property
    def left(self) -> int:
        """Bytes that may still be written; -1 once the log was cut."""
        return self._left

    @property
    def unheard(self) -> str:
        """What came before there was a sink, at most a thousand characters."""
        return "; ".join(line.message for line in self._early)[:1000]

    def attach(self, sink: Callable[[LogLine], None]) -> None:
        """Send lines to `sink` from now on, first those that came before there was one."""
        self.sink = sink
        for line in self._early:
            sink(line)
        self._early.clear()

    def detach(self) -> None:
        """Keep what comes now for the next sink."""
        self.sink = None

    def renew(self) -> None:
        """The whole limit again: for the log of another execution."""
        self._left = self._limit
        self._early.clear()

    def add(self, level: str, text: bytes) -> None:
        """One line; text that is not UTF-8 is shown with replacement characters."""
        if self._left < 0:
            return
        cost = len(text) + _LINE_BYTES
        if cost > self._left:
            cut, self._left = text[: self._left], -1
            if cut:
                self._pass(level, cut)
            self._pass("warning", f"the log ends here: it is longer than {self._limit} bytes".encode())
            return
        self._left -= cost
        self._pass(level, text)

    def _pass(self, level: str, text: bytes) -> None:
        known = level if level in _LEVELS else "info"
        line = LogLine(at=time.time(), level=known, message=text.decode("utf-8", "replace"))
        if self.sink is None:
            self._early.append(line)
        else:
            self.sink(line)


class Printed:
    """Lines of one stream (standard output or error), put together from pieces."""

    def __init__(self, level: str, budget: LogBudget) -> None:
        self._level = level
        self._budget = budget
        self._rest = b""
        self._ignored = 0
        self.out_of_memory = False

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if self._budget.left < 0 or self._ignored > _MOST_IGNORED:
            lines = lines[-_LAST_LINES:]
        for line in lines:
            self._line(line)
        if len(self._rest) > _LONGEST_LINE:
            self.finish()

    def finish(self) -> None:
        """The stream ended, or its last line is too long to wait for its end."""
        if self._rest:
            rest, self._rest = self._rest, b""
            self._line(rest)

    def _line(self, line: bytes) -> None:
        if self._level == "error":
            text = line.decode("utf-8", "replace")
            if _LAST_WORDS.match(text):
                self._ignored += 1
                self.out_of_memory = self.out_of_memory or bool(_NO_MEMORY.search(text))
                return
        self._budget.add(self._level, line)
