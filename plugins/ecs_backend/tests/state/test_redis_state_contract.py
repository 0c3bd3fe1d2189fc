"""The state store's contract on every Redis that there is."""

from __future__ import annotations

import pytest
from turnout.testing.clock import ManualClock
from turnout.testing.state import StateStoreContract
from turnout_ecs.connection import Connection
from turnout_ecs.state.state import RedisState
from turnout_ecs.testing.servers import RedisServer


class AgeingClock(ManualClock):
    """Lets time pass on the server: what expires there expires so much earlier."""

    def __init__(self, server: RedisServer) -> None:
        super().__init__()
        self._server = server

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        for key in self._server.command("KEYS", "*"):
            left_ms = self._server.command("PTTL", key)
            if left_ms > 0:
                self._server.command("PEXPIRE", key, max(0, left_ms - int(seconds * 1000)))


class TestRedisState(StateStoreContract):
    @pytest.fixture
    def clock(self, server: RedisServer) -> ManualClock:
        return AgeingClock(server)

    @pytest.fixture
    def store(self, connection: Connection) -> RedisState:
        return RedisState(connection)

    @pytest.fixture
    def another(self, connection: Connection) -> RedisState:
        return RedisState(connection)
