"""The specialised processes of one key, and how many of them are worth having: as many as are asked for at once, and no more.

The depth doubles when somebody finds nothing on the shelf, and loses half of what nobody touched between two looks at it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from turnout.interfaces.sandbox import CodeBundle
from turnout.sandbox.process import NodeProcess

__all__ = ["Shelf"]

_IDLE_CPU_MS: Final = 500.0
"""Between two looks: the runtime itself cleans up and compiles for less."""


@dataclass(slots=True, eq=False)
class Shelf:
    """`ready` are prepared, `making` are being prepared, `depth` is how many there should be. Times in seconds of one clock."""

    bundle: CodeBundle
    used_at: float
    ready: deque[NodeProcess] = field(default_factory=deque)
    making: int = 0
    depth: int = 1
    prepared: bool = False
    failed_at: float | None = None
    _untouched: int = 0
    _cpu_ms: dict[NodeProcess, float] = field(default_factory=dict)

    def lacks(self, lent: int) -> bool:
        """Whether more should be made, where so many in use will come back."""
        return self.failed_at is None and len(self.ready) + self.making + lent < self.depth

    @property
    def is_bare(self) -> bool:
        return not self.ready and not self.making

    @property
    def promising(self) -> int:
        """How many are on their way that have been known to arrive: waiting for one is quicker than starting another."""
        return self.making if self.prepared else 0

    def take(self) -> NodeProcess | None:
        """The one that became ready last, whose memory is still near; those that died while they waited are passed over."""
        process = None
        while self.ready and process is None:
            process = self.ready.pop()
            if not process.alive:
                process = None
        self._untouched = min(self._untouched, len(self.ready))
        return process

    def missed(self, deepest: int, lent: int) -> None:
        """Somebody came and found nothing. Where those in use come back, no more are missing than he needs."""
        self.depth = min(deepest, max(self.depth, lent + 1) if lent else 2 * self.depth)

    def add(self, process: NodeProcess) -> None:
        self.prepared = True
        self.ready.append(process)
        self._cpu_ms[process] = process.cpu_ms

    def failed(self, now: float) -> None:
        """The code cannot be loaded ahead of time: let it be for a while."""
        self.failed_at = now

    def look(self, now: float, *, again_s: float) -> None:
        """Once in a while: end half of what nobody has touched since the last time, and what computes though it has nothing
        to do: what its code does before a job comes has no time-out. After `again_s` a failure is forgotten."""
        if self.failed_at is not None and now - self.failed_at >= again_s:
            self.failed_at = None
        self._end_busy(now)
        self.depth = max(1, self.depth - (self._untouched + 1) // 2)
        while len(self.ready) > self.depth:
            self.ready.popleft().kill()
        self._untouched = len(self.ready)

    def _end_busy(self, now: float) -> None:
        used = {process: process.cpu_ms for process in self.ready}
        for process in [process for process in used if used[process] - self._cpu_ms.get(process, 0.0) > _IDLE_CPU_MS]:
            process.kill()
            self.ready.remove(process)
            self.failed(now)
        self._cpu_ms = {process: used[process] for process in self.ready}

    def clear(self) -> None:
        while self.ready:
            self.ready.popleft().kill()
