"""An OpenAPI document: read, bounded, its references followed one at a time.

Nothing is fetched: a reference that leaves the document is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import yaml
from turnout.errors import UserError

__all__ = ["Document", "Place", "parse", "read"]

_BYTES: Final = 64 * 1024 * 1024
_NODES: Final = 5_000_000
_DEPTH: Final = 200
_CHAIN: Final = 20
_SHOWN: Final = 5

Place = tuple[str, ...]
"""Where in the document something is, key by key."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML as OpenAPI means it: the JSON schema of YAML 1.2, in which `no`, `on` and dates are texts."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag.rsplit(":", 1)[-1] in {"null", "int", "float", "merge"}]
    for first, found in _Loader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("true|false"), list("tf"))


@dataclass(frozen=True)
class Document:
    """`data` is the whole document, its keys texts. `name` is what messages call it."""

    name: str
    data: Mapping[str, Any]

    def require_version(self) -> None:
        """`UserError` unless it is one that is understood."""
        _ = self.version

    @cached_property
    def version(self) -> str:
        """`2.0`, `3.0` or `3.1`. `UserError` for others."""
        told = str(self.data.get("openapi", self.data.get("swagger", "")))
        for known in ("2.0", "3.0", "3.1"):
            if told == known or told.startswith(f"{known}."):
                return known
        what = f"version {told!r}" if told else "no `openapi` and no `swagger`"
        raise UserError(f"{self.name}: it has {what}: OpenAPI 2.0, 3.0 and 3.1 are understood")

    def resolve(self, node: Any, place: Place) -> Mapping[str, Any]:
        """The object that stands there, or that a reference there leads to. `UserError` where there is none."""
        for _ in range(_CHAIN):
            if not isinstance(node, Mapping):
                raise self.fault(place, "an object is expected")
            reference = node.get("$ref")
            if not isinstance(reference, str):
                return node
            node = self.at(reference, place)
        raise self.fault(place, "its references lead in a circle")

    def part(self, node: Mapping[str, Any], key: str, place: Place) -> Mapping[str, Any]:
        """The object under a key of the object at `place`; an empty one where there is none."""
        return {} if node.get(key) is None else self.resolve(node[key], (*place, key))

    def parts(self, node: Mapping[str, Any], key: str, place: Place) -> list[Any]:
        """The list under a key of the object at `place`; an empty one where there is none."""
        found = node.get(key)
        if found is not None and not isinstance(found, list):
            raise self.fault((*place, key), "a list is expected")
        return found or []

    def texts(self, node: Mapping[str, Any], key: str, place: Place) -> list[str]:
        found = self.parts(node, key, place)
        if not all(isinstance(one, str) for one in found):
            raise self.fault((*place, key), "a list of texts is expected")
        return found

    @cached_property
    def info(self) -> Mapping[str, Any]:
        return self.part(self.data, "info", ())

    @cached_property
    def components(self) -> Mapping[str, Any]:
        return self.part(self.data, "components", ())

    def at(self, reference: str, place: Place) -> Any:
        """What a reference leads to (RFC 6901)."""
        if not reference.startswith("#"):
            raise self.fault(place, f"it refers to {reference!r}, which is not in the document: {_BUNDLE}")
        node: Any = self.data
        for part in reference.removeprefix("#").split("/")[1:]:
            key = unquote(part).replace("~1", "/").replace("~0", "~")
            if isinstance(node, Mapping) and key in node:
                node = node[key]
            elif isinstance(node, list) and key.isdigit() and int(key) < len(node):
                node = node[int(key)]
            else:
                raise self.fault(place, f"it refers to {reference!r}, which there is not")
        return node

    def fault(self, place: Place, what: str) -> UserError:
        return UserError(f"{self.name}: {'.'.join(place) or 'the document'}: {what}")


_BUNDLE: Final = "make one document of it first (`npx @redocly/cli bundle`)"


def read(path: Path, name: str = "") -> Document:
    """The document in a file, JSON or YAML. `UserError` names the file, and the line where it is known."""
    name = name or str(path)
    try:
        if path.stat().st_size > _BYTES:
            raise UserError(f"{name}: it is larger than {_BYTES // 1024**2} MiB")
        return parse(path.read_bytes(), name)
    except OSError as error:
        raise UserError(f"{name}: it cannot be read: {error.strerror or error}") from error


def parse(content: bytes, name: str) -> Document:
    """`UserError` if it is no document that can be used: damaged, too deep or too large once its aliases are followed, of
    another version, or with references that leave it."""
    try:
        text = content.decode("utf-8-sig")
        data = json.loads(text) if text.lstrip().startswith("{") else yaml.load(text, Loader=_Loader)  # noqa: S506 - safe
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: it is not UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{name}:{error.lineno}: it is no JSON: {error.msg}") from error
    except RecursionError as error:
        raise UserError(f"{name}: it is nested too deeply") from error
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{name}{line}: it is no YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{name}: it cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise UserError(f"{name}: an OpenAPI document is an object")
    document = Document(name=name, data=_Plain(name).of(data))
    document.require_version()
    if leaving := list(_first(_leaving(document.data), _SHOWN)):
        shown = "".join(f"\n  {'.'.join(place)}: {reference}" for place, reference in leaving)
        raise UserError(f"{name}: it has references that leave the document: {_BUNDLE}{shown}")
    return document


class _Plain:
    """The same with keys that are texts (YAML's may be numbers), counted."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes = 0

    def of(self, value: Any, depth: int = 0) -> Any:
        self._nodes += 1
        if depth > _DEPTH:
            raise UserError(f"{self._name}: it is nested more than {_DEPTH} deep, or has an alias inside what it names")
        if self._nodes > _NODES:
            raise UserError(f"{self._name}: it has more than {_NODES:,} parts, or aliases that make as many")
        if isinstance(value, dict):
            return {self._key(key): self.of(inner, depth + 1) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.of(inner, depth + 1) for inner in value]
        return value

    def _key(self, key: object) -> str:
        return key if isinstance(key, str) else json.dumps(key)


def _leaving(data: Any) -> Iterator[tuple[Place, str]]:
    waiting: list[tuple[Place, Any]] = [((), data)]
    while waiting:
        place, node = waiting.pop()
        if isinstance(node, Mapping):
            reference = node.get("$ref")
            if isinstance(reference, str) and not reference.startswith("#"):
                yield place, reference
            waiting += [((*place, key), inner) for key, inner in node.items() if key not in _NOT_OURS]
        elif isinstance(node, list):
            waiting += [((*place, str(number)), inner) for number, inner in enumerate(node)]


_NOT_OURS: Final = frozenset({"example", "examples", "default", "enum"})


def _first(found: Iterator[tuple[Place, str]], count: int) -> Iterator[tuple[Place, str]]:
    for _, one in zip(range(count), found, strict=False):
        yield one
