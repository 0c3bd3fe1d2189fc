"""What a process has in its data segment once it has booted in a jail: RLIMIT_DATA is counted from there."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO, Final

from turnout.errors import BackendError
from turnout.sandbox.frames import FrameParser, FrameType
from turnout.sandbox.launch import CHANNEL
from turnout.sandbox.node import environment, options
from turnout.sandbox.python import python_options

from turnout_ecs.jail.python_parts import BOOTSTRAP_AT, INTERPRETER_AT, PACK_AT

__all__ = ["NODE", "PYTHON", "measure"]

_HEAP_BYTES: Final = 256 * 1024 * 1024
NODE: Final = ("/node", *options(_HEAP_BYTES), "/bootstrap/main.cjs")
PYTHON: Final = (INTERPRETER_AT, *python_options(), BOOTSTRAP_AT, "-", PACK_AT)
_WITHIN_S: Final = 30.0
_LARGEST_SAID: Final = 4000
_NOBODY: Final = 65534


def measure(root: Path, command: Sequence[str]) -> int:
    """Start the program in the jail at `root`, as a user without rights, and read it, in bytes. `BackendError` where it does not
    boot: what it said names a library that the jail lacks, for instance."""
    ours, theirs = socket.socketpair()
    with ours, theirs, tempfile.TemporaryFile() as said:
        channel = theirs.fileno()
        process = subprocess.Popen(  # noqa: S603 - our own program
            command,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            preexec_fn=partial(_enter, root, channel),  # noqa: PLW1509 - no threads here, and no speed is asked for
            pass_fds=(CHANNEL,),
        )
        theirs.close()
        try:
            _wait_until_ready(ours, process, said, command[0])
            return int(Path(f"/proc/{process.pid}/statm").read_text().split()[5]) * resource.getpagesize()
        finally:
            process.kill()
            process.wait()


def _enter(root: Path, channel: int) -> None:
    os.dup2(channel, CHANNEL)
    os.chroot(root)
    os.chdir("/")
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)


def _wait_until_ready(channel: socket.socket, process: subprocess.Popen[bytes], said: IO[bytes], program: str) -> None:
    frames = FrameParser(_LARGEST_SAID)
    channel.settimeout(_WITHIN_S)
    how = f"it was not ready within {_WITHIN_S:g} s"
    with contextlib.suppress(TimeoutError):
        while data := channel.recv(65536):
            if any(frame.type is FrameType.READY for frame in frames.feed(data)):
                return
        how = f"it ended with status {process.wait()}"
    said.seek(0)
    text = said.read(_LARGEST_SAID).decode("utf-8", "replace").strip()
    raise BackendError(f"{program} does not boot in the jail: {how}. {text}".rstrip())
