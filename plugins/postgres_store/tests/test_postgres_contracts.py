"""The stores keep the promises of their interfaces, on every PostgreSQL that this machine has."""

from __future__ import annotations

import pytest
from turnout.interfaces.catalog import CatalogStore
from turnout.interfaces.records import RecordStore
from turnout.interfaces.state import StateStore
from turnout.testing.catalog import CatalogStoreContract
from turnout.testing.clock import ManualClock
from turnout.testing.journal import JournalContract, MakeJournal
from turnout.testing.records import RecordStoreContract
from turnout.testing.state import StateStoreContract
from turnout_postgres.catalog import PostgresCatalog
from turnout_postgres.database import Database
from turnout_postgres.journal import PostgresJournal
from turnout_postgres.records import PostgresRecords
from turnout_postgres.standins.server import PostgresServer
from turnout_postgres.state import PostgresState


@pytest.fixture
async def database(each_server: PostgresServer, schema: str, make_database: object) -> Database:
    database: Database = make_database(each_server, schema)  # type: ignore[operator]
    await database.open()
    return database


class TestPostgresRecords(RecordStoreContract):
    @pytest.fixture
    def store(self, database: Database) -> RecordStore:
        return PostgresRecords(database)


class TestPostgresState(StateStoreContract):
    @pytest.fixture
    def store(self, database: Database, clock: ManualClock) -> StateStore:
        return PostgresState(database, clock)

    @pytest.fixture
    def another(self, database: Database, clock: ManualClock) -> StateStore:
        return PostgresState(database, clock)


class TestPostgresCatalog(CatalogStoreContract):
    @pytest.fixture
    def store(self, database: Database, clock: ManualClock) -> CatalogStore:
        return PostgresCatalog(database, clock)

    @pytest.fixture
    def another(self, database: Database, clock: ManualClock) -> CatalogStore:
        return PostgresCatalog(database, clock)


class TestPostgresJournal(JournalContract):
    @pytest.fixture
    def make_journal(self, database: Database) -> MakeJournal:
        return lambda: PostgresJournal(database)
