"""Turnout on PostgreSQL: records, journal, state."""
