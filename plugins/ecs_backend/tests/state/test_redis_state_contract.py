"""The state store's contract on every Redis that there is."""

from __future__ import annotations

import pytest
from turnout.testing.clock import ManualClock
from turnout.testing.state import StateStoreContract
from turnout_ecs.connection import Connection
from turnout_ecs.state.state import RedisState
from turnout_ecs.testing.ageing import AgeingClock
from turnout_ecs.testing.servers import RedisServer


class TestRedisState(StateStoreContract):
    @pytest.fixture
    def clock(self, server: RedisServer) -> ManualClock:
        return AgeingClock([server])

    @pytest.fixture
    def store(self, connection: Connection) -> RedisState:
        return RedisState(connection)

    @pytest.fixture
    def another(self, connection: Connection) -> RedisState:
        return RedisState(connection)
