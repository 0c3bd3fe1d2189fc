"""Whether a process goes on: what tests ask after something was to end it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["runs"]


def runs(pid: int) -> bool:
    """Whether it is there and more than an entry that nobody has waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False
