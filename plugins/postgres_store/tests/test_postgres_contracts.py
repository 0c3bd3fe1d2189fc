"""The stores keep the promises of their interfaces, on every PostgreSQL that this machine has."""

from __future__ import annotations

import pytest
from turnout.interfaces.records import RecordStore
from turnout.testing.records import RecordStoreContract
from turnout_postgres.database import Database
from turnout_postgres.records import PostgresRecords
from turnout_postgres.standins.server import PostgresServer


@pytest.fixture
async def database(each_server: PostgresServer, schema: str, make_database: object) -> Database:
    database: Database = make_database(each_server, schema)  # type: ignore[operator]
    await database.open()
    return database


class TestPostgresRecords(RecordStoreContract):
    @pytest.fixture
    def store(self, database: Database) -> RecordStore:
        return PostgresRecords(database)
