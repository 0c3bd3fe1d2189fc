"""Time that a test lets pass on real servers, for what they make expire by their own clock."""

from __future__ import annotations

from collections.abc import Sequence

from turnout.testing.clock import ManualClock

from turnout_ecs.testing.servers import RedisServer

__all__ = ["AgeingClock"]


class AgeingClock(ManualClock):
    """`advance` makes what expires on these servers expire so much earlier."""

    def __init__(self, servers: Sequence[RedisServer]) -> None:
        super().__init__()
        self._servers = servers

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        for server in self._servers:
            for key in server.command("KEYS", "*"):
                left_ms = server.command("PTTL", key)
                if left_ms > 0:
                    server.command("PEXPIRE", key, max(0, left_ms - int(seconds * 1000)))
