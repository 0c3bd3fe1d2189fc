"""When a flow is started by the clock: what its definition comes to for an instance."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Missed", "Overlap", "Schedule"]


class Missed(StrEnum):
    """What becomes of ticks whose time passed while nothing could start them."""

    SKIP = "skip"
    """They are left out."""
    ONCE = "once"
    """One execution stands for all of them."""
    ALL = "all"
    """Each is started, the oldest first."""


class Overlap(StrEnum):
    """What becomes of a tick while the execution before it still runs."""

    ALLOW = "allow"
    SKIP = "skip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """One of `cron` (five fields, in `timezone`), `every_s` and `at` (seconds since the epoch) is set. Each tick comes up to
    `jitter_s` later than its time, the same schedule's always by the same."""

    cron: str = ""
    every_s: float | None = None
    at: float | None = None
    timezone: str = "UTC"
    missed: Missed = Missed.ONCE
    overlap: Overlap = Overlap.ALLOW
    jitter_s: float = 0.0
