"""What the table of settings is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Leaf", "Named", "Section", "Setting", "leaf"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One setting: `field` of its section's class, and `read`, which raises `ValueError` with what is expected. What is given
    for a `private` one is in no message: somebody may have written a secret there."""

    field: str
    read: Callable[[object], Any]
    description: str
    private: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A table of `turnout.toml` and the class it becomes."""

    make: type
    keys: Mapping[str, Leaf | Section | Named]


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A table of tables whose names are the project's own: `field` of the class around it. Each is a `section`, or, where
    that is None, read by somebody else later."""

    field: str
    section: Section | None
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A setting as the reference lists it: `name` is dotted, `storage.retention.days`; `field` the attribute it becomes."""

    name: str
    field: str
    description: str
    default: Any


def leaf(field: str, read: Callable[[object], Any], description: str, *, private: bool = False) -> Leaf:
    return Leaf(field=field, read=read, description=description, private=private)
