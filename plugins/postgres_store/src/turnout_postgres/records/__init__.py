"""Records on PostgreSQL, partitioned by the time of the executions' creation."""

from turnout_postgres.records.store import PostgresRecords

__all__ = ["PostgresRecords"]
