"""Turnout on Redis: queue, journal, state."""
