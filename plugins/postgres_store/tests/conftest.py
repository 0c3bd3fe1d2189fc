"""A real PostgreSQL for the tests, and a schema of its own for each."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from turnout_postgres.database import Database
from turnout_postgres.options import PostgresOptions
from turnout_postgres.standins.server import PostgresServer, installations

_numbers = itertools.count()


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    """The newest PostgreSQL of this machine."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session", params=list(installations()), ids=lambda version: f"postgresql{version}")
def each_server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """Each PostgreSQL of this machine, for the contract suites."""
    with PostgresServer(binaries=installations()[request.param], settings={"fsync": "off"}) as server:
        yield server


@pytest.fixture
def schema() -> str:
    return f"test_{next(_numbers)}"


MakeDatabase = Callable[..., Database]


@pytest.fixture
async def make_database() -> AsyncIterator[MakeDatabase]:
    """Makes databases of a server and a schema, with further options: to be opened by the test, closed here at the end."""
    made: list[Database] = []

    def make(server: PostgresServer, schema: str, **options: Any) -> Database:
        given = PostgresOptions(url="-", namespace=schema, **{"migrate": True, **options})
        made.append(Database(server.url, given))
        return made[-1]

    yield make
    for database in made:
        await database.aclose()


@pytest.fixture
async def database(server: PostgresServer, schema: str, make_database: MakeDatabase) -> Database:
    """A schema of the test's own, with its tables."""
    database = make_database(server, schema)
    await database.open()
    return database
