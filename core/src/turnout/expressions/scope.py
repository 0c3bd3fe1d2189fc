"""What an expression may see while it is evaluated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from turnout.model.payload import File
from turnout.values import Value

__all__ = ["ContentNeeded", "Scope"]


class ContentNeeded(Exception):
    """Not a fault: an expression asks for the content of `file`, which is not in memory.

    Who evaluates reads it, adds it to `Scope.content` under its SHA-256, and evaluates again.
    """

    def __init__(self, file: File) -> None:
        self.file = file
        super().__init__(f"the content of {file!r} is needed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The names that expressions start with, and the few things of the world that functions may ask for.

    `roots` has a `Value` by name, or a mapping of values whose keys are all known (`steps`, `config`): a key that it
    lacks is an error, while a missing member of a `Value` is null, as JMESPath says. `now` is in seconds since the
    epoch. `unique` gives the next id, the same ones whenever the step is evaluated again. `content` has the content of
    files by SHA-256. `functions` has what the engine provides (`callback_url`), by name.
    """

    roots: Mapping[str, Value | Mapping[str, Value]]
    now: float
    unique: Callable[[], str]
    content: Mapping[str, bytes] = field(default_factory=dict)
    functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
