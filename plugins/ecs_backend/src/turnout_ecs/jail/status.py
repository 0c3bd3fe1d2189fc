"""What the kernel says of a process: `/proc/<pid>/status`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from turnout.errors import BackendError

__all__ = ["status_of"]


def status_of(process: int | Literal["self"]) -> dict[str, str]:
    """Each line by its name. `BackendError` where there is no such process, or no /proc."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError as error:
        raise BackendError(f"/proc/{process}/status cannot be read: {error.strerror}") from error
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)
