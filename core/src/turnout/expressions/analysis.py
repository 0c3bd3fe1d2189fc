"""From JMESPath's syntax tree to the one that is evaluated: paths from the roots become `reference` nodes.

JMESPath evaluates against one document. Here the document is the scope, whose parts are loaded only where an expression
names them, so every place that is evaluated against the scope is found beforehand. Functions are checked here too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from turnout.expressions.faults import Refusal, nearest
from turnout.expressions.functions import FUNCTIONS, STANDARD_ARITY
from turnout.expressions.paths import Path

__all__ = ["Analysis", "Node", "analyse"]

Node = dict[str, Any]

MAX_TREE_DEPTH = 60
"""Of the syntax tree; each level costs the interpreter a few frames of Python's stack."""

_PROJECTIONS = frozenset({"projection", "filter_projection", "value_projection"})
_TAKING_EXPRESSIONS = ("map", "max_by", "min_by", "sort_by")
_CHAINS = frozenset({"subexpression", "index_expression", "pipe"})
_WORDS = {"true": True, "false": False, "null": None}
"""JMESPath reads these bare words as names of fields, which nobody means: comparing with a field called `true` is a
mistake that never shows. `@.true` is still the field."""
_TAKING_VALUES = frozenset(
    {"comparator", "or_expression", "and_expression", "not_expression", "function_expression", "key_val_pair"}
)


@dataclass(slots=True)
class Analysis:
    """The tree to evaluate, and what is known of it before."""

    tree: Node
    references: frozenset[tuple[str, ...]]
    volatile: bool
    constant: bool
    of_elements: frozenset[tuple[str, ...]]
    """The paths inside filters, which begin from each element: `("total",)`."""

    @property
    def path(self) -> Path | None:
        """The path, where the whole expression is nothing but one."""
        return self.tree["path"] if self.tree["type"] == "reference" else None


def analyse(tree: Node) -> Analysis:
    """`Refusal` if it nests too deep, calls what does not exist, or asks for the scope as a whole."""
    if tree["type"] == "expref":
        raise _misplaced_expression()
    walk = _Walk()
    rewritten = walk.rewrite(tree, at_root=True, depth=0)
    return Analysis(
        rewritten,
        frozenset(walk.references),
        walk.volatile,
        constant=not walk.references and not walk.depends,
        of_elements=frozenset(walk.of_elements),
    )


@dataclass(slots=True)
class _Walk:
    references: set[tuple[str, ...]] = field(default_factory=set)
    of_elements: set[tuple[str, ...]] = field(default_factory=set)
    volatile: bool = False
    depends: bool = False

    def rewrite(self, node: Node, *, at_root: bool, depth: int) -> Node:
        if depth > MAX_TREE_DEPTH:
            raise Refusal(f"it nests deeper than {MAX_TREE_DEPTH} levels", hint="do this in a code step")
        kind = node["type"]
        if at_root and (begun := self._begun(node, depth)) is not None:
            return begun
        if kind == "literal":
            _check_literal(node["value"])
            return node
        if kind == "slice":
            return node
        if kind == "function_expression":
            self._check_function(node["value"], len(node["children"]))
        if kind == "filter_projection":
            self.of_elements.update(_paths_in(node["children"][2]))
        takes_expression = kind == "function_expression" and node["value"] in _TAKING_EXPRESSIONS
        if not takes_expression and any(child["type"] == "expref" for child in node["children"]):
            raise _misplaced_expression()
        children = [
            _literal(child)
            if kind in _TAKING_VALUES and _is_word(child)
            else self.rewrite(child, at_root=at_root and _sees_root(kind, number), depth=depth + 1)
            for number, child in enumerate(node["children"])
        ]
        return {**node, "children": children}

    def _begun(self, node: Node, depth: int) -> Node | None:
        """What is evaluated against the scope itself and begins with a name, or with a word that stands for a value."""
        if _is_word(node):
            return _literal(node)
        links = _applied(node)
        path = _leading_path(links)
        if path:
            return self._reference(path, links[len(path) :], depth)
        if node["type"] in ("current", "identity"):
            raise Refusal("it asks for everything at once", hint="begin with a name such as `steps` or `trigger`")
        return None

    def _reference(self, path: Path, rest: list[Node], depth: int) -> Node:
        self.references.add(_names(path))
        reference = {"type": "reference", "path": path, "children": []}
        if not rest:
            return reference
        others = [self.rewrite(child, at_root=False, depth=depth + 1) for child in rest]
        return {"type": "subexpression", "children": [reference, *others]}

    def _check_function(self, name: str, given: int) -> None:
        ours = FUNCTIONS.get(name)
        if ours is not None:
            low, high = ours.arity
            self.volatile = self.volatile or ours.volatile
            self.depends = self.depends or ours.depends
        elif name in STANDARD_ARITY:
            low, high = STANDARD_ARITY[name]
        else:
            raise Refusal(f"unknown function {name!r}", hint=nearest(name, [*FUNCTIONS, *STANDARD_ARITY]))
        if not low <= given <= high:
            wanted = f"{low}" if low == high else f"at least {low}" if high == math.inf else f"{low} to {high:.0f}"
            hint = f"it is called as {ours.signature}" if ours is not None else ""
            raise Refusal(f"{name}() takes {wanted} argument{'s' * (wanted != '1')}, not {given}", hint=hint)


def _is_word(node: Node) -> bool:
    return node["type"] == "field" and node["value"] in _WORDS


def _literal(node: Node) -> Node:
    return {"type": "literal", "value": _WORDS[node["value"]], "children": []}


def _misplaced_expression() -> Refusal:
    return Refusal(
        "`&` makes an expression where a value is needed", hint=f"it is for {', '.join(_TAKING_EXPRESSIONS)}"
    )


def _sees_root(kind: str, number: int) -> bool:
    """Whether the child of that number is evaluated against what the node itself is evaluated against."""
    if kind == "expref":
        return False
    return number == 0 if kind in _PROJECTIONS or kind in _CHAINS else True


def _applied(node: Node) -> list[Node]:
    """A chain's links in the order in which they are applied; of any other node, itself."""
    if node["type"] not in _CHAINS:
        return [node]
    return [link for child in node["children"] for link in _applied(child)]


def _leading_path(links: list[Node]) -> Path:
    """The path that a chain begins with; empty where it begins otherwise."""
    if links[0]["type"] != "field":
        return ()
    return tuple(link["value"] for link in takewhile(lambda link: link["type"] in ("field", "index"), links))


def _paths_in(condition: Node) -> Iterator[tuple[str, ...]]:
    """The paths that a filter's condition asks each element for."""
    waiting = [condition]
    while waiting:
        node = waiting.pop()
        if path := _leading_path(_applied(node)):
            yield _names(path)
        else:
            waiting.extend(child for child in node["children"] if isinstance(child, dict))


def _names(path: Path) -> tuple[str, ...]:
    """The names that a path begins with, up to the first index."""
    return tuple(part for part in takewhile(lambda part: isinstance(part, str), path) if isinstance(part, str))


def _check_literal(value: Any) -> None:
    """JMESPath's literals are read by Python's parser, which knows numbers that JSON does not have."""
    if isinstance(value, float) and not math.isfinite(value):
        raise Refusal("a literal that is not JSON", hint="NaN and infinities are not numbers in JSON")
    if isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            _check_literal(item)
