"""Where exactly a fault stands: found only once there is one, by reading the definition's file again.

The model remembers where each step begins and nothing finer. A key below it is looked up in the file itself, so that
sound definitions, which are nearly all that are ever loaded, carry and cost nothing. In Python definitions, and where a
file has changed in the meantime, the place is the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from turnout.definition.nodes import ListNode, MapNode, Node, ScalarNode
from turnout.definition.yaml_source import read_file
from turnout.errors import DefinitionError, Problem
from turnout.model.definition import Flow, Integration, Position

__all__ = ["Places", "Way", "shown_path"]

Way = tuple[str | int, ...]


def shown_path(path: Path) -> str:
    """As people write it: relative to the working directory where it is below it."""
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except (ValueError, OSError):
        return str(path)


class Places:
    """Makes problems with places, for one integration."""

    def __init__(self, integration: Integration) -> None:
        self._directory = integration.directory
        positions = [flow.position for flow in integration.flows.values() if flow.position]
        self._file = positions[0].file if positions else ""
        self._trees: dict[str, Node | None] = {}
        self._mappings: dict[str, dict[Position, MapNode]] = {}

    def problem(
        self,
        message: str,
        *,
        below: Position | Flow | None = None,
        ways: Sequence[Way] = ((),),
        offset: int | None = None,
        find: str = "",
        at_key: bool = False,
        hint: str = "",
        severity: str = "error",
    ) -> Problem:
        """A problem at the first of `ways` that there is, each the keys and numbers from `below`: the step that stands
        there, or a flow, or the whole definition.

        `offset` counts characters in the text at that place, `find` is looked for in it; `at_key` means the key and not
        its value.
        """
        if isinstance(below, Flow):
            ways = [("flows", below.name, *way) for way in ways]
            start, below = None, below.position
        else:
            start = below
        at = below or Position(file=self._file, line=0, column=0)
        node, key = self._follow(at.file, start, ways)
        if at_key and key is not None:
            at = key
        elif isinstance(node, ScalarNode):
            if offset is None and find and find in node.text:
                offset = node.text.index(find)
            at = _inside(node, offset) if offset is not None else node.position
        elif node is not None and any(ways):
            at = key or node.position
        file = shown_path(Path(self._directory, at.file)) if self._directory and at.file else at.file
        return Problem(message=message, hint=hint, severity=severity, file=file, line=at.line, column=at.column)

    def _follow(self, file: str, step: Position | None, ways: Sequence[Way]) -> tuple[Node | None, Position | None]:
        tree = self._tree(file)
        start = self._mappings[file].get(step) if step and tree is not None else tree
        for way in ways:
            node, key = start, None
            for part in way:
                node, key = _child(node, part)
            if node is not None:
                return node, key
        return None, None

    def _tree(self, file: str) -> Node | None:
        if file not in self._trees:
            tree = self._trees[file] = self._read(file)
            self._mappings[file] = {} if tree is None else _mappings_of(tree)
        return self._trees[file]

    def _read(self, file: str) -> Node | None:
        path = Path(self._directory, file)
        if not self._directory or path.suffix.lower() not in (".yaml", ".yml"):
            return None
        try:
            return read_file(path, name=file)
        except DefinitionError:
            return None


def _child(node: Node | None, part: str | int) -> tuple[Node | None, Position | None]:
    match node, part:
        case MapNode(), str() if part in node.entries:
            entry = node.entries[part]
            return entry.value, entry.position
        case ListNode(), int() if part < len(node.items):
            return node.items[part], None
        case _:
            return None, None


def _mappings_of(tree: Node) -> dict[Position, MapNode]:
    """Every mapping by the place where it begins, as steps do. What aliases share is looked into once."""
    found: dict[Position, MapNode] = {}
    pending: list[Node] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ListNode):
            pending.extend(node.items)
        elif isinstance(node, MapNode) and node.position not in found:
            found[node.position] = node
            pending.extend(entry.value for entry in node.entries.values())
    return found


def _inside(node: ScalarNode, offset: int) -> Position:
    before = node.text[:offset]
    lines = before.count("\n")
    column = len(before) - (before.rfind("\n") + 1)
    return Position(file=node.body.file, line=node.body.line + lines, column=node.body.column + column)
