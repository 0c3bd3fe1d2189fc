"""The SQLite file that the queue, the journal and the state of one project share, since each commit is on the hot path."""

from __future__ import annotations

from turnout.interfaces.opening import NoOptions, Opening
from turnout.local.database import Database
from turnout.model.durability import Durability

__all__ = ["project_database"]


def project_database(opening: Opening) -> Database:
    """Opened by whichever of them comes first; closed with `opening.shared`. `SettingsError`: SQLite has no options."""
    opening.read(NoOptions)
    full = opening.durability is Durability.HOST
    return opening.shared.get("sqlite", lambda: Database(opening.directory / "turnout.db", full=full))
