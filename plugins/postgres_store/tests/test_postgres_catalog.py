"""What PostgreSQL adds to the catalog: several processes, answers that are lost, indexes that are used."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from turnout.interfaces.catalog import REVISIONS_KEPT_S, Address, CatalogChange
from turnout.testing.clock import ManualClock
from turnout_postgres.catalog import PostgresCatalog
from turnout_postgres.database import Database
from turnout_postgres.options import PostgresOptions
from turnout_postgres.standins.server import PostgresServer

from .cutting_proxy import CuttingProxy

ADDRESS = Address(kind="counter", tenant="acme", name="n")

COUNTING = """
import asyncio, sys
from turnout.interfaces.catalog import Address, CatalogChange
from turnout_postgres.catalog import PostgresCatalog
from turnout_postgres.database import Database
from turnout_postgres.options import PostgresOptions

ADDRESS = Address(kind="counter", tenant="acme", name="n")

async def main(url, schema):
    database = Database(url, PostgresOptions(url="-", namespace=schema))
    await database.open()
    catalog = PostgresCatalog(database)
    for _ in range(30):
        while True:
            found = await catalog.get(ADDRESS)
            value, revision = (0, 0) if found is None else (int(found.body), found.revision)
            if await catalog.write(CatalogChange(address=ADDRESS, body=b"%d" % (value + 1), expected=revision)):
                break
    await database.aclose()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_processes_count_together(server: PostgresServer, database: Database, schema: str) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", COUNTING, server.url, schema]) for _ in range(3)]
    assert [await asyncio.to_thread(process.wait) for process in processes] == [0] * 3

    found = await PostgresCatalog(database).get(ADDRESS)

    assert found is not None
    assert (found.body, found.revision) == (b"90", 90)


@pytest.fixture
async def proxied(
    server: PostgresServer, schema: str, database: Database
) -> AsyncIterator[tuple[CuttingProxy, PostgresCatalog]]:
    """A catalog whose answers can be lost on the way."""
    async with CuttingProxy(server.port) as proxy:
        url = server.url.replace(f":{server.port}", f":{proxy.port}")
        behind = Database(url, PostgresOptions(url="-", namespace=schema))
        await behind.open()
        yield proxy, PostgresCatalog(behind)
        await behind.aclose()


async def test_a_write_whose_answer_was_lost_is_made_once_and_says_so(
    proxied: tuple[CuttingProxy, PostgresCatalog], database: Database
) -> None:
    proxy, catalog = proxied
    proxy.cut_after(b"COMMIT")

    made = await catalog.write(CatalogChange(address=ADDRESS, body=b"1", expected=0))

    found = await PostgresCatalog(database).get(ADDRESS)
    assert proxy.cuts == 1
    assert made is True
    assert found is not None
    assert (found.body, found.revision) == (b"1", 1)


async def test_a_write_that_broke_before_its_end_is_made_again(
    proxied: tuple[CuttingProxy, PostgresCatalog],
) -> None:
    proxy, catalog = proxied
    proxy.cut_after(b"INSERT INTO")

    assert await catalog.write(CatalogChange(address=ADDRESS, body=b"1", expected=0)) is True

    found = await catalog.get(ADDRESS)
    assert proxy.cuts == 1
    assert found is not None
    assert found.revision == 1


async def test_those_who_name_addresses_in_any_order_never_block_each_other_for_good(
    server: PostgresServer, schema: str, database: Database, make_database: Any
) -> None:
    other = make_database(server, schema)
    await other.open()
    addresses = [Address(kind="counter", name=str(number)) for number in range(20)]
    changes = [CatalogChange(address=address, body=b"") for address in addresses]

    made = await asyncio.gather(
        *(
            PostgresCatalog(which).write(*(changes if way else reversed(changes)))
            for _ in range(10)
            for which in (database, other)
            for way in (True, False)
        )
    )

    assert all(made)
    assert [entry.revision for entry in await PostgresCatalog(database).entries("counter")] == [40] * 20


async def test_what_removed_entries_leave_behind_goes_little_by_little(database: Database) -> None:
    clock = ManualClock()
    catalog = PostgresCatalog(database, clock)
    for number in range(30):
        await catalog.write(CatalogChange(address=Address(kind="state", name=str(number)), body=b""))
        await catalog.write(CatalogChange(address=Address(kind="state", name=str(number)), body=None))
    clock.advance(REVISIONS_KEPT_S + 1)

    for number in range(2):
        await catalog.write(CatalogChange(address=Address(kind="other", name=str(number)), body=b""))

    assert await database.run(lambda session: session.one("SELECT count(*) FROM {s}.catalog")) == (2,)


class Explained:
    """A database that explains what it is asked instead of answering it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.plans: list[str] = []

    async def run(self, work: Any) -> list[Any]:
        async def explain(session: Any) -> list[Any]:
            await work(_Explaining(session, self.plans))
            return []

        found: list[Any] = await self._database.run(explain)
        return found


class _Explaining:
    def __init__(self, session: Any, plans: list[str]) -> None:
        self._session = session
        self._plans = plans

    def naming(self, **names: str) -> _Explaining:
        return _Explaining(self._session.naming(**names), self._plans)

    async def rows(self, statement: str, *parameters: Any) -> list[Any]:
        rows = await self._session.rows(f"EXPLAIN (COSTS OFF) {statement}", *parameters)
        self._plans.append("\n".join(line for (line,) in rows))
        return []

    async def one(self, statement: str, *parameters: Any) -> None:
        await self.rows(statement, *parameters)


async def test_a_hundred_thousand_entries_are_found_by_the_indexes(database: Database) -> None:
    catalog = PostgresCatalog(database)
    for start in range(0, 100_000, 10_000):
        await database.run(
            lambda session, start=start: session.change(  # type: ignore[misc]
                """
                INSERT INTO {s}.catalog (place, of_tenant, of_kind, kind, tenant, name, revision, due, body)
                SELECT sha256(n::text::bytea), sha256((n % 100)::text::bytea), sha256((n % 2)::text::bytea), 'instance', '', n::text::bytea, 1, n, ''
                FROM generate_series($1::int, $1::int + 9999) AS n
                """,
                start,
            )
        )
    await database.run(lambda session: session.change("ANALYZE {s}.catalog"))
    explained = Explained(database)
    asked = PostgresCatalog(explained)  # type: ignore[arg-type]

    await asked.entries("instance", tenant="acme", prefix="1", after="12", limit=10)
    await asked.entries("instance", prefix="1", after="12", limit=10)
    await asked.due("instance", 50.0, limit=10)
    await asked.next_due("instance")
    await asked.kinds()
    await asked.get(ADDRESS)

    assert len(explained.plans) == 6
    for plan in explained.plans:
        assert "Seq Scan" not in plan, plan
        assert "Sort" not in plan or "Incremental Sort" in plan, plan
    assert await catalog.kinds() == ["instance", "instance"]
