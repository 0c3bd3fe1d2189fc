"""The journal's contract on every Redis that there is."""

from __future__ import annotations

import pytest
from turnout.testing.journal import JournalContract, MakeJournal
from turnout_ecs.connection import Connection
from turnout_ecs.journal.journal import RedisJournal


class TestRedisJournal(JournalContract):
    @pytest.fixture
    def make_journal(self, connection: Connection) -> MakeJournal:
        return lambda: RedisJournal(connection)
