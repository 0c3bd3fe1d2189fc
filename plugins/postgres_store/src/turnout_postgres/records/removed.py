"""Which executions count as removed although their rows are still there.

Retention says in one row what is gone: final executions that ended before a time and have not changed since it said so.
Everything that reads leaves them out, and their partition is dropped with all that is in it, so that nothing is deleted row
by row that need not be. One that changes afterwards, or comes new with an old date, is there until retention comes again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from turnout_postgres.database import Session

__all__ = ["Removed", "knowing"]

_NAMES: Final = {
    # Whether an execution is there: in a statement whose first two parameters are `Removed`'s fields, or in any.
    "is_live": "(ended_at IS NULL OR ended_at >= $1 OR changed > $2 OR status NOT IN {final})",
    "live": """(ended_at IS NULL OR ended_at >= (SELECT removed_before FROM {s}.record_state)
        OR changed > (SELECT removed_at FROM {s}.record_state) OR status NOT IN {final})""",
    # `Status.final`, and the others by name, so that the index on statuses finds them.
    "final": "('succeeded', 'failed', 'cancelled')",
    "not_final": "('queued', 'running', 'waiting', 'parked')",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """Ended before `before`, and last changed at the position `at` or earlier."""

    before: float
    at: int

    @property
    def parameters(self) -> tuple[float, int]:
        return self.before, self.at


def knowing(session: Session) -> Session:
    """A session in which `{is_live}`, `{live}`, `{final}` and `{not_final}` are conditions and lists of statuses."""
    return session.naming(**_NAMES)
