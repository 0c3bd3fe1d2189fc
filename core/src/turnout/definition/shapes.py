"""What the grammar of definitions is written in: the types of values, and keys."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "Choice",
    "Condition",
    "Data",
    "Duration",
    "EitherOf",
    "Flag",
    "Key",
    "Kind",
    "ListOf",
    "MapOf",
    "Number",
    "OrFlag",
    "Shape",
    "Special",
    "Text",
    "Type",
]


@dataclass(frozen=True, slots=True)
class Text:
    """Text; a number is taken as it was written (`version: 1.0`)."""

    pattern: str = ""
    what: str = "text"
    empty: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """An expression, with or without `${{ }}` around it, or true or false."""


@dataclass(frozen=True, slots=True)
class Data:
    """Anything; text in it may hold `${{ }}`."""


@dataclass(frozen=True, slots=True)
class Duration:
    """`5m`, `1h30m`, `250ms` or seconds; an expression too where `expression` says so."""

    expression: bool = False


@dataclass(frozen=True, slots=True)
class Number:
    minimum: float | None = None
    maximum: float | None = None
    integer: bool = False
    flag: bool = False
    """Whether true (as much as usual) and false (none) are read too."""
    expression: bool = False
    """Whether text with an expression is read too."""


@dataclass(frozen=True, slots=True)
class Flag:
    pass


@dataclass(frozen=True, slots=True)
class Choice:
    values: tuple[str, ...]
    what: str


@dataclass(frozen=True, slots=True)
class ListOf:
    item: Type
    single: bool = False
    """Whether one item may stand without the list."""


@dataclass(frozen=True, slots=True)
class MapOf:
    item: Type
    names: str
    what: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """A mapping with known keys. `short` is the key that a bare value stands for, `what` the word for it in messages."""

    what: str
    keys: tuple[Key, ...]
    short: str = ""
    empty: bool = False
    """Whether nothing (`stop:`) stands for `{}`."""
    extensions: bool = False
    """Whether keys that begin with `x-` are let pass: places for anchors."""


@dataclass(frozen=True, slots=True)
class EitherOf:
    """A bare value (`scalar`) or a collection (`other`)."""

    scalar: Type
    other: Type


@dataclass(frozen=True, slots=True)
class OrFlag:
    """True or false, or what `other` says."""

    other: Type


@dataclass(frozen=True, slots=True)
class Special:
    """A type with a reader of its own: `steps`, `handler` (steps, or a mapping with them), `trigger`, `arms`, `branch`."""

    name: str


Type = (
    Text | Condition | Data | Duration | Number | Flag | Choice | ListOf | MapOf | Shape | EitherOf | OrFlag | Special
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    name: str
    type: Type
    doc: str
    required: bool = False
    also: tuple[str, ...] = ()
    """Other spellings that are read as this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of step: `block` is what stands under its key, `beside` the keys next to it that only it has.

    For control steps the keys of the block may stand beside it as well (`stop:` and below it `output: …`).
    """

    name: str
    doc: str
    block: Type
    beside: tuple[Key, ...] = ()
