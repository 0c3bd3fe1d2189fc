"""What the YAML reader makes: plain data in which every value and key still knows where it stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from turnout.model.definition import Position

__all__ = ["Entry", "ListNode", "MapNode", "Node", "ScalarNode", "node_of", "plain"]


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """A leaf. `value` is None, bool, int, float or str; `text` is what was written, without quotes.

    `style` is `|` or `>` for blocks, a quote, or empty; `body` is where the first line of the text itself stands, after
    the quote or on the line below the `|`.
    """

    value: Any
    text: str
    position: Position
    style: str
    body: Position


@dataclass(frozen=True, slots=True)
class ListNode:
    items: tuple[Node, ...]
    position: Position


@dataclass(frozen=True, slots=True)
class Entry:
    """A key's place and its value."""

    position: Position
    value: Node


@dataclass(frozen=True, slots=True)
class MapNode:
    position: Position
    entries: dict[str, Entry] = field(default_factory=dict)


Node = ScalarNode | ListNode | MapNode


def plain(node: Node) -> Any:
    """The node as JSON-like data."""
    match node:
        case ScalarNode():
            return node.value
        case ListNode():
            return [plain(item) for item in node.items]
        case MapNode():
            return {key: plain(entry.value) for key, entry in node.entries.items()}


def node_of(data: Any, at: Position) -> Node:
    """JSON-like data as nodes that all stand at one place: what Python wrote in one call."""
    match data:
        case dict():
            return MapNode(at, {key: Entry(at, node_of(item, at)) for key, item in data.items()})
        case list():
            return ListNode(tuple(node_of(item, at) for item in data), at)
        case _:
            return ScalarNode(data, str(data), at, '"' if isinstance(data, str) else "", at)
