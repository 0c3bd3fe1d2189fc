"""What processes cost: CPU time and proportional memory of a process and everything below it, read from /proc."""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["PeakMemory", "cpu_s", "pss_bytes", "tree"]

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the command's name (proc(5): field 3 is the first); None if it is gone."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(")") + 2 :].split()


def tree(root: int) -> list[int]:
    """The process and its descendants that run now."""
    children = defaultdict(list)
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))):
            children[int(stat[1])].append(int(entry.name))
    found, left = [], [root]
    while left:
        pid = left.pop()
        found.append(pid)
        left.extend(children[pid])
    return found


def cpu_s(root: int) -> float:
    """Seconds of CPU, user and system, of the tree since its start, those of ended and awaited children included."""
    stats = [stat for pid in tree(root) if (stat := _stat(pid))]
    return sum(int(ticks) for stat in stats for ticks in stat[11:15]) / _TICKS


def pss_bytes(pid: int) -> int:
    """Proportional set size of one process: shared pages are divided among those who share them. 0 if it is gone."""
    try:
        rollup = (_PROC / str(pid) / "smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * 1024


@dataclass(slots=True)
class PeakMemory:
    """Inside the `with` block, the highest PSS of the tree seen at samples `every_s` seconds apart.

    Reading PSS costs time in the measured processes, so nothing is timed in the same run.
    """

    root: int
    every_s: float = 0.2
    peak_bytes: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> PeakMemory:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.peak_bytes = max(self.peak_bytes, sum(map(pss_bytes, tree(self.root))))
            if self._stop.wait(self.every_s):
                return
