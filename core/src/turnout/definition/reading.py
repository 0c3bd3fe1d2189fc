"""Reads nodes by the types of the grammar, gathering every problem on the way."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from turnout.definition import grammar, shapes
from turnout.definition.nearest import hint_for
from turnout.definition.nodes import ListNode, MapNode, Node, ScalarNode, plain
from turnout.definition.shapes import Key, Shape, Type
from turnout.errors import Problem
from turnout.model.definition import Position
from turnout.model.duration import parse_duration

__all__ = ["INVALID", "Reading", "key_hint"]

INVALID: Final = object()
"""What reading gives for a value with a problem; the key is then left out."""


class Reading:
    """One pass over a definition. `problems` is complete when it ends; what it built counts only if there are none."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def problem(self, at: Position, message: str, hint: str = "") -> Any:
        """Note a problem; gives `INVALID`, to be returned."""
        self.problems.append(Problem(message=message, hint=hint, file=at.file, line=at.line, column=at.column))
        return INVALID

    def special(self, name: str, node: Node) -> Any:
        """Read a type that has a reader of its own."""
        raise NotImplementedError(name)

    def read(self, node: Node, kind: Type, label: str) -> Any:  # noqa: C901, PLR0912 - one arm a type
        """The value of a node, or `INVALID`. `label` is the key, for messages."""
        match kind:
            case shapes.Text():
                return self._text(node, kind, label)
            case shapes.Data():
                return plain(node)
            case shapes.Condition():
                return self._condition(node, label)
            case shapes.Duration():
                return self._duration(node, kind, label)
            case shapes.Number():
                return self._number(node, kind, label)
            case shapes.Flag():
                value = self._scalar(node, label, "true or false")
                if value is INVALID or isinstance(value, bool):
                    return value
                return self.problem(node.position, f"{label} must be true or false, not {_shown(node)}")
            case shapes.Choice():
                return self._choice(node, kind, label)
            case shapes.ListOf():
                return self._list(node, kind, label)
            case shapes.MapOf():
                return self._map(node, kind, label)
            case shapes.Shape():
                return self.shape(node, kind)
            case shapes.EitherOf():
                return self.read(node, kind.scalar if isinstance(node, ScalarNode) and node.text else kind.other, label)
            case shapes.OrFlag():
                flag = isinstance(node, ScalarNode) and isinstance(node.value, bool)
                return self.read(node, shapes.Flag() if flag else kind.other, label)
            case shapes.Special():
                return self.special(kind.name, node)

    def shape(self, node: Node, shape: Shape) -> Any:
        """The values of a mapping by key; a bare value where the shape has a short form."""
        if isinstance(node, ScalarNode) and node.value is None and shape.empty:
            return {}
        if shape.short and not isinstance(node, MapNode):
            key = next(key for key in shape.keys if key.name == shape.short)
            if isinstance(node, ScalarNode) or isinstance(key.type, shapes.Data):
                value = self.read(node, key.type, f"`{key.name}`")
                return INVALID if value is INVALID else {key.name: value}
        if not isinstance(node, MapNode):
            return self.problem(
                node.position, f"{shape.what} is a mapping with {_listed(shape.keys)}, not {_shown(node)}"
            )
        values = self.keys(node, shape.keys, shape.what, extensions=shape.extensions)
        self.required(node, shape.keys, values, shape.what)
        return values

    def keys(
        self, node: MapNode, keys: Iterable[Key], what: str, *, skip: Iterable[str] = (), extensions: bool = False
    ) -> dict[str, Any]:
        """The values of the known keys; a problem for each other key but those of `skip`."""
        known = {key.name: key for key in keys}
        spelled = {other: key for key in known.values() for other in key.also} | known
        values: dict[str, Any] = {}
        written: dict[str, str] = {}
        for name, entry in node.entries.items():
            if name in skip or (extensions and name.startswith("x-")):
                continue
            key = spelled.get(name)
            if key is None:
                self.problem(entry.position, f"{what} has no key {name!r}", key_hint(name, known))
            elif key.name in written:
                self.problem(entry.position, f"`{name}` says the same as `{written[key.name]}`: write one of them")
            else:
                written[key.name] = name
                values[key.name] = self.read(entry.value, key.type, f"`{name}`")
        return values

    def required(self, node: MapNode, keys: Iterable[Key], values: dict[str, Any], what: str) -> None:
        """A problem for each required key that is not there; drops the values that are `INVALID`."""
        for key in keys:
            if key.required and key.name not in values:
                self.problem(node.position, f"{what} needs `{key.name}`", key.doc)
        for name in [name for name, value in values.items() if value is INVALID]:
            del values[name]

    def name(self, at: Position, name: str, pattern: str, what: str) -> bool:
        """Whether a name has the form it must have; a problem otherwise."""
        if re.fullmatch(pattern, name):
            return True
        first = "a letter, a digit or _" if pattern == grammar.NAME else "a letter or _"
        others = "letters, digits and _" + ("" if pattern == grammar.IDENTIFIER else " and -")
        self.problem(
            at, f"{name[:120]!r} cannot be {what}", f"it begins with {first} and goes on with {others}, 100 at most"
        )
        return False

    def _scalar(self, node: Node, label: str, what: str) -> Any:
        if not isinstance(node, ScalarNode):
            return self.problem(node.position, f"{label} must be {what}, not {_shown(node)}")
        if node.value is None and not node.style:
            return self.problem(node.position, f"{label} is empty: it must be {what}")
        return node.value

    def _text(self, node: Node, kind: shapes.Text, label: str) -> Any:
        if isinstance(node, ScalarNode) and kind.empty and node.value is None:
            return ""
        if self._scalar(node, label, kind.what) is INVALID:
            return INVALID
        assert isinstance(node, ScalarNode)
        if not node.text.strip() and not kind.empty:
            return self.problem(node.position, f"{label} is empty: it must be {kind.what}")
        if kind.pattern and not self.name(node.position, node.text, kind.pattern, kind.what):
            return INVALID
        return node.text

    def _condition(self, node: Node, label: str) -> Any:
        value = self._scalar(node, label, "an expression")
        if isinstance(value, bool):
            return str(value).lower()
        if value is INVALID:
            return INVALID
        assert isinstance(node, ScalarNode)
        return node.text.strip() or self.problem(node.position, f"{label} is empty: it must be an expression")

    def _duration(self, node: Node, kind: shapes.Duration, label: str) -> Any:
        value = self._scalar(node, label, "a duration")
        if value is INVALID:
            return INVALID
        if kind.expression and isinstance(value, str) and "${{" in value:
            return value
        try:
            seconds = parse_duration(value)
        except ValueError as error:
            return self.problem(node.position, f"{label}: {error}")
        return value if kind.expression else seconds

    def _number(self, node: Node, kind: shapes.Number, label: str) -> Any:
        what = "a whole number" if kind.integer else "a number"
        value = self._scalar(node, label, what)
        if value is INVALID:
            return INVALID
        if (kind.flag and isinstance(value, bool)) or (kind.expression and isinstance(value, str) and "${{" in value):
            return value
        if isinstance(value, bool) or not isinstance(value, int if kind.integer else int | float):
            return self.problem(node.position, f"{label} must be {what}, not {_shown(node)}")
        low, high = kind.minimum, kind.maximum
        if (low is not None and value < low) or (high is not None and value > high):
            return self.problem(node.position, f"{label} must be from {low} to {high}, not {value}")
        return value

    def _choice(self, node: Node, kind: shapes.Choice, label: str) -> Any:
        value = self._scalar(node, label, "one of " + ", ".join(kind.values))
        if value is INVALID or value in kind.values:
            return INVALID if value is INVALID else str(value)
        assert isinstance(node, ScalarNode)
        hint = hint_for(node.text, [str(item) for item in kind.values])
        return self.problem(node.position, f"{label} cannot be {_shown(node)}", hint)

    def _list(self, node: Node, kind: shapes.ListOf, label: str) -> Any:
        if kind.single and not isinstance(node, ListNode):
            value = self.read(node, kind.item, label)
            return INVALID if value is INVALID else [value]
        if not isinstance(node, ListNode):
            return self.problem(node.position, f"{label} must be a list, not {_shown(node)}")
        values = [self.read(item, kind.item, label) for item in node.items]
        return INVALID if INVALID in values else values

    def _map(self, node: Node, kind: shapes.MapOf, label: str) -> Any:
        if isinstance(node, ScalarNode) and node.value is None and not kind.required:
            return {}
        if not isinstance(node, MapNode) or (kind.required and not node.entries):
            return self.problem(
                node.position,
                f"{label} is a mapping of at least one {kind.what} by name"
                if kind.required
                else f"{label} is a mapping of {kind.what}s by name, not {_shown(node)}",
            )
        values = {}
        for name, entry in node.entries.items():
            self.name(entry.position, name, kind.names, f"the name of a {kind.what}")
            value = self.read(entry.value, kind.item, f"{kind.what} `{name}`")
            if value is not INVALID:
                values[name] = value
        return values


def key_hint(name: str, known: Iterable[str]) -> str:
    """What an unknown key probably is: what other systems call one of the known keys, or the nearest of them."""
    known = list(known)
    for meant in grammar.SYNONYMS.get(name.casefold(), ()):
        if meant in known:
            return f"it is called {meant!r} here"
    return hint_for(name, known)


def _listed(keys: Iterable[Key]) -> str:
    return ", ".join(f"`{key.name}`" for key in keys) or "nothing in it"


def _shown(node: Node) -> str:
    match node:
        case ListNode():
            return "a list"
        case MapNode():
            return "a mapping"
        case ScalarNode():
            if node.value is None:
                return "nothing"
            return repr(node.text[:40]) if isinstance(node.value, str) else node.text[:40]
