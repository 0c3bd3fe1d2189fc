"""`python -m turnout_ecs.testing --port 6379`: a Redis server of this machine, for a try, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import threading
from pathlib import Path

from turnout_ecs.testing.servers import RedisServer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=6379)
    parser.add_argument("--aof", action="store_true", help="keep every write on the disk before it is acknowledged")
    given = parser.parse_args()
    settings = {"appendonly": "yes", "appendfsync": "always"} if given.aof else {}
    stopping = threading.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: stopping.set())
    with (
        tempfile.TemporaryDirectory(prefix="turnout-redis-") as directory,
        RedisServer(Path(directory), port=given.port, settings=settings) as server,
    ):
        print(f"Redis is serving on {server.url}", flush=True)  # noqa: T201 - it is a command
        stopping.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
