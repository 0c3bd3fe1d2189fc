"""How the `process` sandbox starts a process and ends it with all its descendants, which nothing keeps it from starting."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from turnout.interfaces.sandbox import Limits
from turnout.sandbox.launch import Launch, posix_spawn
from turnout.sandbox.node import BOOTSTRAP, environment, node_binary, options
from turnout.sandbox.python import PYTHON_BOOTSTRAP, python_binary, python_options

__all__ = ["ProcessLaunch", "PythonLaunch"]

_OUTSIDE_HEAP_BYTES: Final = 192 * 1024 * 1024
"""What V8 and libuv need beside the heap: semi-spaces, code, stacks of threads, buffers that are being sent."""


class ProcessLaunch(Launch):
    """Node as this process's user, with an environment of its own."""

    layers = ("rlimits",)
    _outside_bytes = _OUTSIDE_HEAP_BYTES

    def spawn(self, limits: Limits, descriptors: Sequence[int]) -> int:
        return posix_spawn(self._command(limits), environment(), descriptors)

    def _command(self, limits: Limits) -> list[str]:
        return [node_binary(), *options(limits.memory_bytes), str(BOOTSTRAP / "main.cjs")]

    def booted(self, pid: int, limits: Limits) -> None:
        """Bound what lies outside the heap too (buffers): by the data segment, on top of what Node reserved at its start.

        RLIMIT_AS cannot be used with V8, which reserves far more than it uses.
        """
        try:
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[5])
            limit = pages * resource.getpagesize() + limits.memory_bytes + self._outside_bytes
            resource.prlimit(pid, resource.RLIMIT_DATA, (limit, limit))
        except (OSError, AttributeError, ValueError):
            return  # not Linux: the heap limit alone holds

    def kill(self, pid: int) -> None:
        for descendant in _descendants(pid):
            with contextlib.suppress(OSError):
                os.kill(descendant, signal.SIGKILL)
        super().kill(pid)


class PythonLaunch(ProcessLaunch):
    """The same for Python, where all that code needs lies in the data segment."""

    program = "Python"
    _outside_bytes = 0

    def _command(self, limits: Limits) -> list[str]:
        return [python_binary(), *python_options(), str(PYTHON_BOOTSTRAP / "main.py")]


def _descendants(pid: int) -> Sequence[int]:
    """Processes that `pid` started and theirs, as far as the kernel still knows their parents. Empty where it does not tell."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        try:
            tasks = [task.name for task in Path(f"/proc/{waiting.pop()}/task").iterdir()]
        except OSError:
            continue
        for task in tasks:
            with contextlib.suppress(OSError, ValueError):
                children = [int(child) for child in Path(f"/proc/{task}/task/{task}/children").read_text().split()]
                found.extend(children)
                waiting.extend(children)
    return found
