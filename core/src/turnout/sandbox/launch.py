"""How a sandboxed process comes to be and goes: the part in which sandboxes differ."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

from turnout.interfaces.sandbox import Limits

__all__ = ["CHANNEL", "EGRESS", "LIFELINE", "Launch", "cpu_ms_of", "peak_bytes_of", "posix_spawn", "threads_of"]

CHANNEL: Final = 3
LIFELINE: Final = 4
EGRESS: Final = 5
_CPUCLOCK_SCHED: Final = 2


def cpu_ms_of(pid: int) -> float:
    """Processor time of all threads of a process that has not been reaped; clock_getcpuclockid(3) has the number's form."""
    try:
        return time.clock_gettime_ns((~pid << 3) | _CPUCLOCK_SCHED) / 1e6
    except OSError:
        return 0.0


def peak_bytes_of(pid: int) -> int:
    """The most that was resident of a living process; 0 where /proc does not tell."""
    return int(_proc(pid, "status").partition(b"VmHWM:")[2].split(b"k", 1)[0] or 0) * 1024


def threads_of(pid: int) -> int:
    """How many threads a living process has; 0 where /proc does not tell."""
    fields = _proc(pid, "stat").rpartition(b")")[2].split(None, 18)
    return int(fields[17]) if fields else 0


def _proc(pid: int, name: str) -> bytes:
    """The file of /proc, which fits a page; empty where there is none. Read for each execution: `open` takes three times as long."""
    try:
        fd = os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, 4096)
    except OSError:
        return b""
    finally:
        os.close(fd)


class Launch(ABC):
    """One process, from the outside. Made for one process and used once; the calls come in the order they stand here.

    `layers` names what stands around it, `uid` its user where it has one of its own (else -1): for receipts.
    `program` is what it runs, in messages.
    """

    layers: tuple[str, ...] = ()
    uid: int = -1
    program: str = "Node"

    @abstractmethod
    def spawn(self, limits: Limits, descriptors: Sequence[int]) -> int:
        """Start the program and return its pid, which leads a session of its own. `descriptors` become its 0, 1, 2, …;
        it inherits no other but what the launch adds. `OSError` or `BackendError` where it cannot be started."""

    def worker(self, pid: int) -> int:
        """The process that runs the code, whose memory and time count: another than was started where that only keeps it."""
        return pid

    def exit_code(self, code: int) -> int:
        """What the end of the started process says of the worker's: its status, or a signal as a negative number."""
        return code

    def booted(self, pid: int, limits: Limits) -> None:  # noqa: B027 - most have nothing to do
        """It is ready, and has run nobody's code: the moment to bound what could not be bounded before."""

    async def bound(self, pid: int, limits: Limits) -> None:  # noqa: B027 - most have nothing to do
        """The same where it takes a while: nobody's code is run before this returns."""

    def kill(self, pid: int) -> None:
        """End it and all it started, at once. It may have ended; its pid is still its own."""
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)

    def buried(self) -> None:  # noqa: B027 - most have nothing to do
        """It has been reaped, or was never started: let go of what was its own. Idempotent."""

    @property
    def out_of_memory(self) -> bool:
        """Whether it ended, and is buried, because it took more memory than its surroundings leave it."""
        return False


def posix_spawn(argv: Sequence[str], env: dict[str, str], descriptors: Sequence[int]) -> int:
    """Start `argv` in a session of its own with `descriptors` as its 0, 1, 2, …. They must be above those numbers."""
    return os.posix_spawn(
        argv[0],
        list(argv),
        env,
        file_actions=[(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(descriptors)],
        setsid=True,
    )
