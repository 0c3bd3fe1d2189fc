"""A server that answers as AWS does (moto's), in a process of its own, whose clock the tests move: what it holds is not in
their memory, and nobody sleeps until a delay of its has passed.

Run as a program it prints its port, then takes seconds by which it is ahead of the machine's clock, or `=` and the time at
which its clock shall stand still, a line each, and answers `ok`.
"""

from __future__ import annotations

import datetime
import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import Self


class StandIn:
    """The server. Times are seconds since the epoch."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        self._ahead_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        """The process ends with its standard input."""
        self._process.communicate(timeout=60)

    def now(self) -> float:
        return time.time() + self._ahead_s

    def advance(self, seconds: float) -> None:
        self._ahead_s += seconds
        self._tell(str(self._ahead_s))

    def stand_at(self, now: float) -> None:
        self._tell(f"={now}")

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "ok\n"


def _serve() -> None:
    from moto.core import utils

    ahead, stands_at = 0.0, None

    def now() -> datetime.datetime:
        moment = time.time() + ahead if stands_at is None else stands_at
        return datetime.datetime.fromtimestamp(moment, datetime.UTC).replace(tzinfo=None)

    utils.utcnow = now
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    from moto.server import ThreadedMotoServer
    from moto.sqs.models import Message

    # Moto's says "after", and where time stands nothing is: what is hidden until now is visible now.
    visible = property(lambda message: utils.unix_time_millis() >= message.visible_at)
    Message.visible = visible  # type: ignore[method-assign,assignment]
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    sys.stdout.write(f"{server.get_host_and_port()[1]}\n")
    sys.stdout.flush()
    for line in sys.stdin:
        if line.startswith("="):
            stands_at = float(line[1:])
        else:
            ahead, stands_at = float(line), None
        sys.stdout.write("ok\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
    import os

    os._exit(0)  # takers may still be waiting in it
