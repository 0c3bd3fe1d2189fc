"""The `data` connector. Its actions compute and touch nothing: the same inputs give the same output."""

from turnout_connectors.data import archives, json_text, tables, trees
from turnout_connectors.data.connector import connector

__all__ = ["archives", "connector", "json_text", "tables", "trees"]
