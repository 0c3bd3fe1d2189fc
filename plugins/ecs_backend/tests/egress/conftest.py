"""The origin that requests are made to, and the network around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.tests.sandbox.npm_packages import installed

from .node_side import Network
from .origin import authority, served


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="session")
def npm_layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `node_modules`."""
    return asyncio.run(installed(tmp_path_factory.mktemp("npm")))


@pytest.fixture
async def network(ca: Path) -> AsyncIterator[Network]:
    async with served(ca.parent) as origin:
        yield Network(origin=origin, ca=ca)
