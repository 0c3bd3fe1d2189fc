"""YAML text to nodes, safe against any text: bounded in bytes, depth and nodes, building nothing but plain data.

The YAML of a definition is YAML 1.2's core schema and no more. `true` and `false` are booleans, `on`, `off`, `yes` and
`no` are text; numbers are decimal (`0o17` and `0x1f` too), `1:30` and `2024-01-01` are text, and so is `007`, whose
zeros would be lost otherwise. Keys are text, each once. Aliases share what they name within the limit of nodes; `<<`
merges a mapping (or a list of them) under the keys that are written out. Tags other than the core schema's, several
documents, and numbers that JSON does not have are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from turnout.definition.nodes import Entry, ListNode, MapNode, Node, ScalarNode
from turnout.errors import DefinitionError, Problem
from turnout.model.definition import Position

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_NODES", "read_file", "read_text"]

MAX_BYTES: Final = 2_000_000
"""A definition file is text that people write; data belongs into payloads and code into files of its own."""
MAX_DEPTH: Final = 100
"""Levels of lists and mappings."""
MAX_NODES: Final = 100_000
"""Values and keys, each alias counted as all that it stands for."""
_MAX_DIGITS: Final = 1000
_MAX_PROBLEMS: Final = 100

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z")
_OCTAL: Final = re.compile(r"0o[0-7]+\Z")
_HEXADECIMAL: Final = re.compile(r"0x[0-9a-fA-F]+\Z")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_NOT_FINITE: Final = re.compile(r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z")
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_TAG: Final = "tag:yaml.org,2002:"
_SCALAR_TAGS: Final = frozenset(_TAG + name for name in ("str", "int", "float", "bool", "null"))


def read_file(path: Path, *, name: str = "") -> Node:
    """The nodes of a file; `name` is what positions call it (its own name by default).

    `DefinitionError` if it cannot be read, is larger than `MAX_BYTES` (which is known without reading it), or for
    what `read_text` refuses.
    """
    name = name or path.name
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise _refused(name, "is not a file")
        if size > MAX_BYTES:
            raise _too_large(name, size)
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise _refused(name, f"cannot be read: {error.strerror or error}") from error
    return read_text(data, name=name)


def read_text(data: bytes | str, *, name: str) -> Node:
    """The nodes of a YAML document.

    `DefinitionError` for what is not YAML or breaks a limit (one problem, reading ends there), and for duplicate keys,
    unknown tags and unusable numbers (all of them).
    """
    text = _decode(data, name)
    reader = _Reader(text, name)
    try:
        root = reader.document(yaml.parse(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        raise DefinitionError([_syntax_problem(error, text, name)]) from error
    except yaml.reader.ReaderError as error:
        code = error.character if isinstance(error.character, int) else ord(error.character[:1] or "\0")
        place = text.find(chr(code))
        raise DefinitionError([_problem_at(text, place, name, f"the character U+{code:04X} is not allowed")]) from error
    if reader.problems:
        raise DefinitionError(reader.problems)
    return root


def _decode(data: bytes | str, name: str) -> str:
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if len(raw) > MAX_BYTES:
        raise _too_large(name, len(raw))
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise _refused(name, "is UTF-16: save it as UTF-8")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8-sig")
        raise DefinitionError(
            [_problem_at(before, len(before), name, "this is not UTF-8: save the file as UTF-8")]
        ) from error


def _refused(name: str, why: str) -> DefinitionError:
    return DefinitionError([Problem(message=f"the definition {why}", file=name)])


def _too_large(name: str, size: int) -> DefinitionError:
    return _refused(name, f"has {size:,} bytes, the limit is {MAX_BYTES:,}: move code and data to files of their own")


def _problem_at(text: str, offset: int, name: str, message: str) -> Problem:
    before = text[: max(offset, 0)]
    return Problem(
        message=message, file=name, line=before.count("\n") + 1, column=len(before) - (before.rfind("\n") + 1) + 1
    )


class _Reader:
    """Builds nodes out of the parser's events, with a stack of its own, so that depth costs no recursion."""

    def __init__(self, text: str, name: str) -> None:
        self.problems: list[Problem] = []
        self._lines = text.splitlines()
        self._name = name
        self._nodes = 0
        self._anchors: dict[str, tuple[Node, int, int]] = {}

    def document(self, events: Iterator[Any]) -> Node:
        """The one document. Each open collection is a frame: its event, children so far, its node count, its height."""
        stack: list[_Frame] = []
        root: Node | None = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent) and root is not None:
                raise self._fatal(event, "a definition is one YAML document: remove the `---` and what follows it")
            built = self._event(event, stack)
            if built is None:
                continue
            if stack:
                stack[-1].add(*built)
            else:
                root = built[0]
        if root is None:
            raise _refused(self._name, "is empty")
        return root

    def _event(self, event: Any, stack: list[_Frame]) -> tuple[Node, int, int] | None:
        match event:
            case yaml.ScalarEvent():
                built: tuple[Node, int, int] = (self._scalar(event), 1, 0)
                self._count(event, 1)
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                self._collection_tag(event)
                if len(stack) >= MAX_DEPTH:
                    raise self._fatal(event, f"nested deeper than {MAX_DEPTH} levels")
                self._count(event, 1)
                stack.append(_Frame(event))
                return None
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                frame = stack.pop()
                event = frame.event
                built = (self._collection(frame), frame.count, frame.height + 1)
            case yaml.AliasEvent():
                return self._alias(event, len(stack))
            case _:
                return None
        if event.anchor is not None:
            self._anchors[event.anchor] = built
        return built

    def _alias(self, event: Any, depth: int) -> tuple[Node, int, int]:
        if event.anchor not in self._anchors:
            raise self._fatal(event, f"the alias *{event.anchor} names nothing that is complete before it")
        node, count, height = self._anchors[event.anchor]
        if depth + height > MAX_DEPTH:
            raise self._fatal(event, f"nested deeper than {MAX_DEPTH} levels by the alias *{event.anchor}")
        self._count(event, count)
        return node, count, height

    def _count(self, event: Any, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise self._fatal(event, f"more than {MAX_NODES:,} values, counting what aliases stand for")

    def _collection_tag(self, event: Any) -> None:
        kind = "seq" if isinstance(event, yaml.SequenceStartEvent) else "map"
        if event.tag not in (None, "!", _TAG + kind):
            self._problem(event, f"the tag {_tag_name(event.tag)} is not allowed", "definitions are plain data")

    def _collection(self, frame: _Frame) -> Node:
        at = self._position(frame.event)
        if isinstance(frame.event, yaml.SequenceStartEvent):
            return ListNode(tuple(frame.children), at)
        node = MapNode(at)
        merged: list[tuple[Node, Node]] = []
        for key, value in zip(frame.children[::2], frame.children[1::2], strict=True):
            if not isinstance(key, ScalarNode):
                self._add(key.position, "a key must be text, not a list or mapping")
            elif key.text == "<<" and not key.style:
                merged.append((key, value))
            elif key.text in node.entries:
                first = node.entries[key.text].position
                self._add(key.position, f"the key {key.text!r} stands here twice", f"first in line {first.line}")
            else:
                node.entries[key.text] = Entry(key.position, value)
        for key, value in merged:
            self._merge(node, key, value)
        return node

    def _merge(self, node: MapNode, key: Node, value: Node) -> None:
        for source in value.items if isinstance(value, ListNode) else (value,):
            if not isinstance(source, MapNode):
                self._add(key.position, "`<<` merges a mapping, or a list of mappings")
                continue
            for name, entry in source.entries.items():
                node.entries.setdefault(name, entry)

    def _scalar(self, event: Any) -> ScalarNode:
        at = self._position(event)
        value: Any = event.value
        tag = event.tag
        if tag is not None and tag != "!":
            if tag not in _SCALAR_TAGS:
                self._problem(event, f"the tag {_tag_name(tag)} is not allowed", "definitions are plain data")
            elif tag != _TAG + "str":
                value = self._resolve(event)
                if _TAG + _kind(value) != tag and not (tag.endswith("float") and type(value) is int):
                    self._problem(event, f"{event.value!r} is not of the type {_tag_name(tag)}")
        elif event.implicit[0]:
            value = self._resolve(event)
        style = event.style or ""
        return ScalarNode(value, event.value, at, style, self._body(event, at, style))

    def _resolve(self, event: Any) -> Any:
        """The value of a plain scalar by YAML 1.2's core schema, less what JSON or people would trip over."""
        text: str = event.value
        if text in _NULLS:
            return None
        if text in _BOOLEANS:
            return _BOOLEANS[text]
        if text[0] not in "-+.0123456789":
            return text
        if _NOT_FINITE.match(text):
            self._problem(event, f"{text} is not a number in JSON", "put it in quotes if it is meant as text")
            return text
        if len(text) > _MAX_DIGITS and (_INTEGER.match(text) or _FLOAT.match(text) or _HEXADECIMAL.match(text)):
            self._problem(
                event, f"a number of more than {_MAX_DIGITS} digits", "put it in quotes if it is meant as text"
            )
            return text
        return self._number(event, text)

    def _number(self, event: Any, text: str) -> Any:
        if _INTEGER.match(text):
            return int(text)
        if _OCTAL.match(text):
            return int(text[2:], 8)
        if _HEXADECIMAL.match(text):
            return int(text[2:], 16)
        if not _FLOAT.match(text):
            return text
        number = float(text)
        if not math.isfinite(number):
            self._problem(event, f"the number {text} is too large", "put it in quotes if it is meant as text")
        return number

    def _position(self, event: Any) -> Position:
        mark = event.start_mark
        return Position(file=self._name, line=mark.line + 1, column=mark.column + 1)

    def _body(self, event: Any, at: Position, style: str) -> Position:
        if style in ("|", ">"):
            line = at.line + 1
            content = event.value.split("\n", 1)[0]
            raw = self._lines[line - 1] if line <= len(self._lines) else ""
            column = raw.rfind(content) + 1 if style == "|" and content else len(raw) - len(raw.lstrip()) + 1
            return Position(file=self._name, line=line, column=max(column, 1))
        return Position(file=self._name, line=at.line, column=at.column + 1) if style else at

    def _problem(self, event: Any, message: str, hint: str = "") -> None:
        self._add(self._position(event), message, hint)

    def _add(self, at: Position, message: str, hint: str = "") -> None:
        self.problems.append(Problem(message=message, hint=hint, file=at.file, line=at.line, column=at.column))
        if len(self.problems) >= _MAX_PROBLEMS:
            raise DefinitionError(self.problems)

    def _fatal(self, event: Any, message: str) -> DefinitionError:
        self._problem(event, message)
        return DefinitionError(self.problems)


class _Frame:
    """A list or mapping that is not complete yet."""

    __slots__ = ("children", "count", "event", "height")

    def __init__(self, event: Any) -> None:
        self.event = event
        self.children: list[Node] = []
        self.count = 1
        self.height = 0

    def add(self, node: Node, count: int, height: int) -> None:
        self.children.append(node)
        self.count += count
        self.height = max(self.height, height)


def _tag_name(tag: str) -> str:
    return "!!" + tag.removeprefix(_TAG) if tag.startswith(_TAG) else tag


def _kind(value: Any) -> str:
    return {bool: "bool", int: "int", float: "float", type(None): "null"}.get(type(value), "str")


def _syntax_problem(error: yaml.MarkedYAMLError, text: str, name: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    what = error.problem or error.context or "it cannot be parsed"
    line, column = (mark.line, mark.column) if mark else (0, 0)
    lines = text.splitlines()
    written = lines[line] if line < len(lines) else ""
    return Problem(
        message=f"this is not YAML: {what}" + (f", {error.context}" if error.problem and error.context else ""),
        file=name,
        line=line + 1,
        column=column + 1,
        hint=_syntax_hint(what, written, column),
    )


def _syntax_hint(what: str, written: str, column: int) -> str:
    character = written[column : column + 1]
    if "\t" in (character, *written[: len(written) - len(written.lstrip())]):
        return "indent with spaces, not with tabs"
    if "${{" in written:
        return "inside { } and [ ], and where it holds `: ` or ` #`, text with ${{ }} must stand in quotes"
    if "mapping values are not allowed" in what:
        return "text that holds `: ` must stand in quotes; otherwise check the indentation"
    if "cannot start any token" in what:
        return f"text that begins with {character} must stand in quotes"
    if "expected key" in what or "block end" in what or "block collection" in what:
        return "check the indentation: keys of one mapping begin in the same column"
    return ""
