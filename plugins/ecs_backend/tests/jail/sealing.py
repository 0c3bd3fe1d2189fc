"""Run by CPython under the launcher: `sealing.py DIRECTORY call NUMBER` makes one call; `sealing.py DIRECTORY try LIMIT` seals
itself with DIRECTORY/seal.so and tells on descriptor 3 what it may still do, and what each call that must not be made gets.

It needs ctypes, which is loaded before the seal.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import datetime
import hashlib
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)


def call(number: int) -> int:
    """The errno of a call without sensible arguments, or 0."""
    ctypes.set_errno(0)
    LIBC.syscall(number, -1, -1, -1, -1, -1, -1)
    return ctypes.get_errno()


def seal(directory: str) -> None:
    sys.path.insert(0, directory)
    with contextlib.suppress(ImportError):
        __import__("seal")


def attempt(action: Callable[[], object]) -> str:
    try:
        action()
    except OSError as error:
        return f"errno {error.errno}"
    return "done"


def thread() -> None:
    other = threading.Thread(target=time.time)
    other.start()
    other.join()


def main() -> None:
    directory, what, rest = sys.argv[1], sys.argv[2], [int(one) for one in sys.argv[3].split(",")]
    if what == "call":
        call(rest[0])
        return
    loop = asyncio.new_event_loop()
    seal(directory)
    os.write(3, b"R")
    os.read(3, 1)
    os.read(5, 4)
    told: dict[str, object] = {
        "open": attempt(lambda: os.open("/", os.O_RDONLY)),
        "look at": attempt(Path("/").stat),
        "fork": attempt(os.fork),
        "start a program": attempt(lambda: os.execv("/bin/true", ["true"])),
        "signal init": attempt(lambda: os.kill(1, 0)),
        "close the lifeline": attempt(lambda: os.close(4)),
        "signal itself": attempt(lambda: os.kill(os.getpid(), 0)),
        "thread": attempt(thread),
        "sleep": attempt(lambda: loop.run_until_complete(asyncio.sleep(0.001))),
        "100 MB": attempt(lambda: bytearray(100 << 20)),
        "compute": attempt(lambda: (hashlib.sha256(b"").digest(), re.match("a+", "aa"), datetime.datetime.now())),
        "calls": [[number, call(number)] for number in rest],
    }
    os.write(3, json.dumps(told).encode())


main()
