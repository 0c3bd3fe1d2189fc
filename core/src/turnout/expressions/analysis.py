"""From JMESPath's syntax tree to the one that is evaluated: paths from the roots become `reference` nodes.

JMESPath evaluates against one document. Here the document is the scope, whose parts are loaded only where an expression
names them, so every place that is evaluated against the scope is found beforehand. Functions are checked here too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from turnout.expressions.faults import Refusal, nearest
from turnout.expressions.functions import FUNCTIONS, STANDARD_ARITY
from turnout.expressions.paths import Path

__all__ = ["Analysis", "Node", "analyse"]

Node = dict[str, Any]

MAX_TREE_DEPTH = 60
"""Of the syntax tree; each level costs the interpreter a few frames of Python's stack."""

_PROJECTIONS = frozenset({"projection", "filter_projection", "value_projection"})
_CHAINS = frozenset({"subexpression", "index_expression", "pipe"})


@dataclass(slots=True)
class Analysis:
    """The tree to evaluate, and what is known of it before."""

    tree: Node
    references: frozenset[tuple[str, ...]]
    volatile: bool
    constant: bool

    @property
    def path(self) -> Path | None:
        """The path, where the whole expression is nothing but one."""
        return self.tree["path"] if self.tree["type"] == "reference" else None


def analyse(tree: Node) -> Analysis:
    """`Refusal` if it nests too deep, calls what does not exist, or asks for the scope as a whole."""
    walk = _Walk()
    rewritten = walk.rewrite(tree, at_root=True, depth=0)
    return Analysis(
        rewritten, frozenset(walk.references), walk.volatile, constant=not walk.references and not walk.depends
    )


@dataclass(slots=True)
class _Walk:
    references: set[tuple[str, ...]] = field(default_factory=set)
    volatile: bool = False
    depends: bool = False

    def rewrite(self, node: Node, *, at_root: bool, depth: int) -> Node:
        if depth > MAX_TREE_DEPTH:
            raise Refusal(f"it nests deeper than {MAX_TREE_DEPTH} levels", hint="do this in a code step")
        kind = node["type"]
        if at_root:
            path, rest = _leading_path(node)
            if path:
                return self._reference(node, path, rest, depth)
            if kind in ("current", "identity"):
                raise Refusal("it asks for everything at once", hint="begin with a name such as `steps` or `trigger`")
        if kind == "literal":
            _check_literal(node["value"])
            return node
        if kind == "slice":
            return node
        if kind == "function_expression":
            self._check_function(node["value"], len(node["children"]))
        children = [
            self.rewrite(child, at_root=at_root and _sees_root(kind, number), depth=depth + 1)
            for number, child in enumerate(node["children"])
        ]
        return {**node, "children": children}

    def _reference(self, node: Node, path: Path, rest: list[Node], depth: int) -> Node:
        names: list[str] = []
        for part in path:
            if not isinstance(part, str):
                break
            names.append(part)
        self.references.add(tuple(names))
        reference = {"type": "reference", "path": path, "children": []}
        if not rest:
            return reference
        others = [self.rewrite(child, at_root=False, depth=depth + 1) for child in rest]
        return {"type": node["type"], "children": [reference, *others]}

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


def _sees_root(kind: str, number: int) -> bool:
    """Whether the child of that number is evaluated against what the node itself is evaluated against."""
    if kind == "expref":
        return False
    return number == 0 if kind in _PROJECTIONS or kind in _CHAINS else True


def _leading_path(node: Node) -> tuple[Path, list[Node]]:
    """The path that a node begins with, and the rest of its chain. An empty path where it begins otherwise."""
    if node["type"] == "field":
        return (node["value"],), []
    if node["type"] not in ("subexpression", "index_expression"):
        return (), []
    first, *others = node["children"]
    path, rest = _leading_path(first)
    if not path or rest:
        return (), []
    taken = 0
    for child in others:
        if child["type"] not in ("field", "index"):
            break
        path += (child["value"],)
        taken += 1
    return path, others[taken:]


def _check_literal(value: Any) -> None:
    """JMESPath's literals are read by Python's parser, which knows numbers that JSON does not have."""
    if isinstance(value, float) and not math.isfinite(value):
        raise Refusal("a literal that is not JSON", hint="NaN and infinities are not numbers in JSON")
    if isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            _check_literal(item)
