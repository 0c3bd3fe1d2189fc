"""What ends the sandboxed processes when this one is killed, whatever they are doing at that moment.

A process that waits for a job sees the end of its channel. One in a busy loop sees nothing: for it there is a pipe that
only this process can write to. When this process is gone, however it went, the kernel sees the pipe's last writer
leave and sends each reader the signal that was asked for, which is SIGKILL (fcntl(2), F_SETOWN and F_SETSIG).

PR_SET_PDEATHSIG would need a launcher of our own, and fires when the *thread* that spawned ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal

__all__ = ["Lifeline"]


class Lifeline:
    """One pipe for all processes. Keep it open as long as they shall live."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def branch(self) -> int:
        """A reading end for one process: a file description of its own, for it has an owner of its own. Close it after `tie`."""
        try:
            return os.open(f"/proc/self/fd/{self._read}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return os.dup(self._read)  # not Linux: the channel's end is the only sign

    def tie(self, branch: int, pid: int) -> None:
        """Kill the process group of `pid` when this process ends; it must have inherited `branch`."""
        if not hasattr(fcntl, "F_SETSIG"):
            return
        with contextlib.suppress(ProcessLookupError):
            fcntl.fcntl(branch, fcntl.F_SETOWN, -pid)
            fcntl.fcntl(branch, fcntl.F_SETSIG, signal.SIGKILL)
            fcntl.fcntl(branch, fcntl.F_SETFL, fcntl.fcntl(branch, fcntl.F_GETFL) | os.O_ASYNC)

    def close(self) -> None:
        """Let go; what is still tied is killed. Idempotent."""
        if self._write >= 0:
            os.close(self._write)
            os.close(self._read)
            self._read = self._write = -1
