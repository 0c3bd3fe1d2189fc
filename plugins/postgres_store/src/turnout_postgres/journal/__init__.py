"""The journal on PostgreSQL."""

from turnout_postgres.journal.store import PostgresJournal

__all__ = ["PostgresJournal"]
