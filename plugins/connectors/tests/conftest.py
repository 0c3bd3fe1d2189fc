"""Real servers on loopback for the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from turnout.testing.connectors import ActionRunner
from turnout_connectors.http import connector as http_connector
from turnout_connectors.standins.serving import serving

from .servers import Recorder


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def server(recorder: Recorder) -> AsyncIterator[str]:
    async with serving(recorder.app) as url:
        yield url


@pytest.fixture
def elsewhere_recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def elsewhere(elsewhere_recorder: Recorder) -> AsyncIterator[str]:
    """A second origin."""
    async with serving(elsewhere_recorder.app) as url:
        yield url


@pytest.fixture
async def http() -> AsyncIterator[ActionRunner]:
    async with ActionRunner(http_connector) as runner:
        yield runner
