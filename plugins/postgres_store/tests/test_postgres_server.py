"""The server for tests: keeps its port and what was committed, whatever ends it."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from turnout_postgres.standins.server import PostgresServer, installations


@pytest.fixture
def own() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


def test_there_is_a_postgresql_here() -> None:
    assert installations()
    assert list(installations()) == sorted(installations(), reverse=True)


@pytest.mark.parametrize("crash", [False, True])
def test_what_was_committed_is_there_after_a_restart(own: PostgresServer, *, crash: bool) -> None:
    with psycopg.connect(own.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS n")
    url = own.url

    own.restart(crash=crash)

    assert own.url == url
    with psycopg.connect(own.url) as connection:
        assert connection.execute("SELECT n FROM t").fetchone() == (1,)


def test_a_wrong_password_is_refused(own: PostgresServer) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(own.url.replace(own.password, "wrong"))


def test_a_paused_server_answers_nobody_until_it_goes_on(own: PostgresServer) -> None:
    own.pause()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(f"{own.url}?connect_timeout=2")

    own.go_on()

    psycopg.connect(own.url).close()


def test_a_removed_server_leaves_nothing(own: PostgresServer) -> None:
    own.remove()
    own.remove()

    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(own.url)
    assert not own._directory.exists()


def test_a_server_that_cannot_start_says_why() -> None:
    server = PostgresServer(settings={"shared_buffers": "nonsense"})

    with pytest.raises(RuntimeError, match="invalid value"):
        server.start()

    server.remove()
