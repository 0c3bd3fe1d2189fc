"""Programs started by the launcher, as a supervisor starts them, and looked at from outside while they wait."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from turnout_ecs.jail.launcher import LaunchOptions, Layers

__all__ = ["DATA_BYTES", "UID", "Launched", "filters_around", "inherited", "launched", "order", "piped"]

UID: Final = 270_000 + os.getpid() % 20_000
"""No other run on this machine has it, nor a sandbox: what a user may have is counted over all that are his."""
DATA_BYTES: Final = 2_000_000_000
_ABOVE_ALL: Final = 20


def order(root: Path | None, layers: Layers | None = None) -> LaunchOptions:
    """What these tests ask for."""
    return LaunchOptions(
        root=root, uid=UID, data_bytes=DATA_BYTES, cpu_s=60, processes=64, keep=5, layers=layers or Layers()
    )


def filters_around() -> int:
    """How many seccomp filters every process here has: a container has one."""
    return int(Path("/proc/self/status").read_text().partition("Seccomp_filters:")[2].split()[0])


@dataclass(slots=True)
class Launched:
    """A process and this side's ends: `channel` is its descriptor 3, `egress` its 5, `printed` what it writes to 1 and 2."""

    pid: int
    channel: socket.socket
    egress: socket.socket
    printed: int

    def status(self, task: int | None = None) -> dict[str, str]:
        """/proc/<pid>/status, or that of one of its threads."""
        directory = f"/proc/{self.pid}/task/{task}" if task else f"/proc/{self.pid}"
        lines = Path(directory, "status").read_text().splitlines()
        return {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}

    def threads(self) -> list[int]:
        return [int(task.name) for task in Path(f"/proc/{self.pid}/task").iterdir()]

    def ready(self) -> None:
        """Wait until it has written one byte to its channel."""
        assert self.channel.recv(1) == b"R", self.end()

    def said(self) -> bytes:
        """All that comes over its channel until it ends."""
        return b"".join(iter(lambda: self.channel.recv(65536), b""))

    def end(self) -> tuple[int, str]:
        """Wait for its end: its status, as subprocess tells it, and what it printed."""
        text = b"".join(iter(lambda: os.read(self.printed, 65536), b"")).decode()
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status), text


@contextlib.contextmanager
def launched(argv: Sequence[str]) -> Iterator[Launched]:
    """Start `argv` with the descriptors of a jailed process; kill what is left of it at the end."""
    with contextlib.ExitStack() as stack:
        channel, theirs = (stack.enter_context(one) for one in socket.socketpair())
        egress, broker = (stack.enter_context(one) for one in socket.socketpair())
        null = inherited(stack, os.open(os.devnull, os.O_RDONLY))
        printed, prints = piped(stack)
        line, _ = piped(stack)
        channel.settimeout(30)
        egress.settimeout(30)
        sources = (null, prints, prints, theirs.fileno(), line, broker.fileno())
        safe = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _ABOVE_ALL) for fd in sources]
        actions = [(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(safe)]
        process = Launched(
            os.posix_spawn(argv[0], list(argv), {}, file_actions=actions, setsid=True), channel, egress, printed
        )
        for fd in (*safe, prints):
            os.close(fd)
        theirs.close()
        broker.close()
        try:
            yield process
        finally:
            if process.pid:
                os.kill(process.pid, signal.SIGKILL)
                os.waitpid(process.pid, 0)


def inherited(stack: contextlib.ExitStack, fd: int) -> int:
    """The descriptor, which will be closed."""
    stack.callback(partial(_close, fd))
    return fd


def piped(stack: contextlib.ExitStack) -> tuple[int, int]:
    read, write = os.pipe()
    return inherited(stack, read), inherited(stack, write)


def _close(fd: int) -> None:
    with contextlib.suppress(OSError):
        os.close(fd)
