"""A real Redis Cluster of three masters on this machine, for tests."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

import hiredis

from turnout_ecs.testing.servers import RedisServer

__all__ = ["RedisCluster"]

_SLOTS: Final = 16384
_MASTERS: Final = 3
_START_S: Final = 30.0


class RedisCluster:
    """Three masters without replicas, each with a third of the slots."""

    def __init__(self, directory: Path, *, binary: Path | None = None) -> None:
        settings = {"cluster-enabled": "yes", "cluster-node-timeout": "2000"}
        self.servers = [
            RedisServer(directory / str(number), binary=binary, settings=settings) for number in range(_MASTERS)
        ]
        self._running = ExitStack()

    @property
    def url(self) -> str:
        """Of one of them: it tells the others."""
        return self.servers[0].url

    def everywhere(self, *words: str | bytes | int) -> list[Any]:
        """Ask each of them something."""
        return [server.command(*words) for server in self.servers]

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for server in self.servers:
                stack.enter_context(server)
            self._join()
            self._running = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def _join(self) -> None:
        for number, server in enumerate(self.servers):
            first, last = (_SLOTS * n // _MASTERS for n in (number, number + 1))
            server.command("CLUSTER", "ADDSLOTS", *range(first, last))
            server.command("CLUSTER", "MEET", "127.0.0.1", self.servers[0].port)
        deadline = time.monotonic() + _START_S
        while not all(self._agrees(server) for server in self.servers):
            if time.monotonic() > deadline:
                raise RuntimeError(f"the cluster did not come together: {self.everywhere('CLUSTER', 'INFO')}")
            time.sleep(0.05)

    def _agrees(self, server: RedisServer) -> bool:
        try:
            known = server.command("CLUSTER", "SLOTS")
        except hiredis.ReplyError:
            return False
        info: bytes = server.command("CLUSTER", "INFO")
        return b"cluster_state:ok" in info and len(known) == _MASTERS
