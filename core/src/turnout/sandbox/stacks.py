"""The customer's own stack: frames of the bundle's sources alone, inline code named by the definition it stands in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec

from turnout.interfaces.sandbox import CodeBundle
from turnout.sandbox.code_view import VIRTUAL_DIRECTORY

__all__ = ["Inline", "Thrown", "relative", "stack_of", "syntax_place"]

_FRAME: Final = re.compile(r"^\s+at (?:(?P<what>.*?) \()?(?P<place>[^()]*?):(?P<line>\d{1,9}):(?P<column>\d{1,9})\)?$")
_FILE_LINE: Final = re.compile(r"^(?:file://)?(?P<place>/.*?):(?P<line>\d{1,9})$", re.MULTILINE)
_LONGEST: Final = 50
_LONGEST_LINE: Final = 4096
_LONGEST_TEXT: Final = 64 * 1024 + 1
_DEEPEST: Final = 5
_MOST_ERRORS: Final = 10
_LAYERS: Final = ("node_modules/", "site-packages/")


class Inline(msgspec.Struct, frozen=True):
    """Where the first line of a generated module stands in the definition."""

    file: str
    line: int
    column: int


class _BundleFile(msgspec.Struct, frozen=True):
    inline: dict[str, Inline] = {}


class Thrown(msgspec.Struct, frozen=True):
    """What the bootstrap says of a thrown value; or code that speaks for it, and keeps to none of its limits."""

    name: str = "Error"
    message: str = ""
    stack: str = ""
    cause: Thrown | None = None
    errors: list[Thrown] = []


def stack_of(thrown: Thrown, bundle: CodeBundle) -> str:
    """Heading and frames of the error, then of what caused it and of the errors that it gathers."""
    places = _Places(bundle.directory, _inline(bundle.directory))
    return "\n".join(_lines(thrown, places))


def relative(text: str, bundle: CodeBundle) -> str:
    """Text with paths of the bundle's files made relative."""
    return _Places(bundle.directory, {}).relative(text)


def syntax_place(text: str, bundle: CodeBundle) -> str:
    """`file:line` of source that could not be compiled or linked, or empty: Node writes it above the message."""
    places = _Places(bundle.directory, _inline(bundle.directory))
    found = _FILE_LINE.search(text[:_LONGEST_TEXT].partition("\n    at ")[0])
    return "" if found is None else places.shown(found["place"], int(found["line"]), 0) or ""


class _Places:
    """Turns places in the bundle's directory into names that people know."""

    def __init__(self, directory: str, inline: Mapping[str, Inline]) -> None:
        self._roots = tuple({f"{directory}/", f"{Path(directory).resolve()}/", f"{VIRTUAL_DIRECTORY}/"})
        self._inline = inline

    def relative(self, text: str) -> str:
        """A message of Node's own names files with their whole paths: shorten those of the bundle."""
        for root in self._roots:
            text = text.replace(f"file://{root}", "").replace(root, "")
        return text

    def shown(self, place: str, line: int, column: int) -> str | None:
        """`file:line[:column]`, or None where the place is not the customer's own source."""
        path = place.removeprefix("file://")
        root = next((root for root in self._roots if path.startswith(root)), None)
        if root is None:
            return None
        name = path.removeprefix(root).partition("?")[0]
        if name.startswith(_LAYERS):
            return None
        origin = self._inline.get(name)
        if origin is not None:
            name, line = origin.file, origin.line + line - 1
            column = column + origin.column - 1 if column else 0
        return f"{name}:{line}:{column}" if column else f"{name}:{line}"


def _lines(thrown: Thrown, places: _Places, depth: int = 1) -> list[str]:
    heading = f"{thrown.name}: {thrown.message}" if thrown.message else thrown.name
    lines = [places.relative(heading[:_LONGEST_TEXT]), *_frames(thrown.stack[:_LONGEST_TEXT], places)]
    if depth == _DEEPEST:
        return lines
    for number, inner in enumerate(thrown.errors[:_MOST_ERRORS], 1):
        first, *rest = _lines(inner, places, depth + 1)
        lines += [f"  [{number}] {first}", *(f"  {line}" for line in rest)]
    if thrown.cause is not None:
        first, *rest = _lines(thrown.cause, places, depth + 1)
        lines += [f"Caused by: {first}", *rest]
    return lines


def _frames(stack: str, places: _Places) -> list[str]:
    frames = []
    for line in stack.splitlines():
        found = _FRAME.match(line) if len(line) <= _LONGEST_LINE else None
        if found is None:
            continue
        where = places.shown(found["place"].removeprefix("async "), int(found["line"]), int(found["column"]))
        if where is not None:
            what = found["what"]
            frames.append(f"    at {what} ({where})" if what else f"    at {where}")
    return frames[:_LONGEST]


@lru_cache(maxsize=64)
def _inline(directory: str) -> Mapping[str, Inline]:
    """A bundle never changes: read once."""
    try:
        return msgspec.json.decode((Path(directory) / ".bundle.json").read_bytes(), type=_BundleFile).inline
    except (OSError, msgspec.DecodeError):
        return {}
