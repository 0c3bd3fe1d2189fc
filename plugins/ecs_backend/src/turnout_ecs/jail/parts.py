"""What a jail's contents are described with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["READ", "RUN", "Language", "Part"]

READ: Final = 0o444
RUN: Final = 0o555


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One file: its absolute path inside, where it is copied from, its mode. `linked`: its shared libraries come along.
    `system`: it is the machine's, and may be renewed by its package manager. `made`: its content is made of the source."""

    path: str
    source: Path
    mode: int = READ
    linked: bool = False
    system: bool = False
    made: Callable[[], bytes] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """A language that code steps are written in. `parts` are its files without shared libraries; `identity` is text that
    differs where those files do, told in a millisecond, since a worker asks for it at its start."""

    name: str
    parts: Callable[[], Sequence[Part]]
    identity: Callable[[], str]
