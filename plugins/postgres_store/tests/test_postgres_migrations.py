"""The tables come to be by hand, once, in order; a start only looks whether they are right."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from turnout.errors import BackendError
from turnout.interfaces.records import RecordBatch
from turnout.testing.records import created, execution
from turnout_postgres.database import Database
from turnout_postgres.migrating import Migrations, known_migrations
from turnout_postgres.options import PostgresOptions
from turnout_postgres.records import PostgresRecords
from turnout_postgres.standins.server import PostgresServer

KNOWN = known_migrations()
ADDED = replace(KNOWN[-1], version=KNOWN[-1].version + 1, name="later", sql="CREATE TABLE later (n int)")


@pytest.fixture
async def bare(server: PostgresServer, schema: str) -> Any:
    """A database without tables."""
    database = Database(server.url, PostgresOptions(url="-", namespace=schema))
    await database.open(check_tables=False)
    yield database
    await database.aclose()


async def apply(database: Database, known: Any = KNOWN) -> list[int]:
    return [one.version for one in await database.migrate(known)]


async def check(database: Database, known: Any = KNOWN) -> None:
    (await database.run(lambda session: Migrations.read(session, known))).check()


def test_migrations_are_numbered_without_gaps() -> None:
    assert [migration.version for migration in KNOWN] == list(range(1, len(KNOWN) + 1))


async def test_a_start_makes_no_tables_and_names_the_command_that_does(server: PostgresServer, schema: str) -> None:
    database = Database(server.url, PostgresOptions(url="-", namespace=schema))

    with pytest.raises(BackendError, match="Run: turnout postgres migrate") as caught:
        await database.open()

    assert "0001" in str(caught.value) or "1 (records)" in str(caught.value)
    assert server.password not in str(caught.value)


async def test_a_start_that_may_migrate_does(server: PostgresServer, schema: str) -> None:
    database = Database(server.url, PostgresOptions(url="-", namespace=schema, migrate=True))

    await database.open()

    assert (await database.migrations()).pending == []
    await database.aclose()


@pytest.mark.parametrize("version", range(len(KNOWN) + 1))
async def test_each_version_comes_to_the_newest(bare: Database, version: int) -> None:
    await apply(bare, KNOWN[:version])

    assert await apply(bare) == [migration.version for migration in KNOWN[version:]]

    await check(bare)
    assert await PostgresRecords(bare).apply(RecordBatch(position=1, executions=(created(execution()),)))


async def test_what_was_kept_stays_when_a_later_migration_comes(bare: Database) -> None:
    await apply(bare)
    store = PostgresRecords(bare)
    await store.apply(RecordBatch(position=7, executions=(created(execution()),)))

    assert await apply(bare, (*KNOWN, ADDED)) == [ADDED.version]

    record = await store.get("e1")
    assert record is not None
    assert record.info == execution()


async def test_of_two_who_migrate_at_once_one_waits_and_finds_it_done(bare: Database) -> None:
    ran = await asyncio.gather(*(apply(bare) for _ in range(4)))

    assert sorted(ran, key=len) == [[], [], [], [migration.version for migration in KNOWN]]


async def test_a_migration_may_take_longer_than_anything_else(server: PostgresServer, schema: str) -> None:
    hasty = Database(server.url, PostgresOptions(url="-", namespace=schema, timeout=1.0))
    await hasty.open(check_tables=False)
    slow = replace(KNOWN[0], sql="SELECT pg_sleep(2.5)")

    ran = await apply(hasty, (slow,))

    assert ran == [slow.version]
    with pytest.raises(BackendError, match=r"longer than backends\.postgres\.timeout allows"):
        await hasty.run(lambda session: session.rows(slow.sql))
    await hasty.aclose()


async def test_a_migration_that_fails_leaves_nothing_and_those_before_it(bare: Database) -> None:
    broken = replace(ADDED, sql="CREATE TABLE later (n int); SELECT 1 / 0")

    with pytest.raises(BackendError, match="division by zero"):
        await apply(bare, (*KNOWN, broken))

    await check(bare)
    assert await apply(bare, (*KNOWN, ADDED)) == [ADDED.version]


async def test_tables_of_a_newer_turnout_are_left_alone(bare: Database) -> None:
    await apply(bare, (*KNOWN, ADDED))

    for refused in (check(bare), apply(bare)):
        with pytest.raises(BackendError, match="This Turnout is too old for it: upgrade turnout-postgres"):
            await refused


async def test_a_migration_that_is_not_the_one_that_was_applied_is_noticed(bare: Database) -> None:
    await apply(bare)
    changed = (replace(KNOWN[0], sql=f"{KNOWN[0].sql} "), *KNOWN[1:])

    for refused in (check(bare, changed), apply(bare, changed)):
        with pytest.raises(BackendError, match=r"migration 1 \(records\) was changed since it was applied"):
            await refused


async def test_what_a_dry_run_prints_does_the_same_by_hand(bare: Database) -> None:
    await apply(bare, KNOWN[:1])
    script = (await bare.migrations()).script()

    await bare.run(lambda session: session.script(script))

    await check(bare)
    assert "0001 records" not in script
    assert "0002 journal" in script
