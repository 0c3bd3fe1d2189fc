"""Following a path of names and indexes from the roots of a scope, without parsing what only passes through."""

from __future__ import annotations

from collections.abc import Mapping

from turnout.expressions.faults import Refusal, nearest
from turnout.expressions.files import file_field
from turnout.expressions.scope import Scope
from turnout.values import NULL, Value

__all__ = ["Path", "follow"]

Path = tuple[str | int, ...]

_LITERALS = frozenset({"true", "false", "null"})


def follow(path: Path, scope: Scope) -> Value:
    """The value at the end of the path, null where a member is missing. `Refusal` if the root, or the key of a root
    whose keys are all known, does not exist."""
    root = scope.roots.get(str(path[0]))
    if root is None:
        raise _unknown_root(str(path[0]), scope)
    if isinstance(root, Value):
        value, rest = root, path[1:]
    elif len(path) == 1:
        return Value(dict(root))
    else:
        value, rest = _member(path[0], root, path[1]), path[2:]
    for part in rest:
        inner = value.get(part) if isinstance(part, str) else value.index(part)
        if inner is None:
            file = value.file
            if file is None or not isinstance(part, str):
                return NULL
            inner = file_field(file, part, scope)
        value = inner
    return value


def _member(root: object, members: Mapping[str, Value], key: object) -> Value:
    value = members.get(key) if isinstance(key, str) else NULL
    if value is None:
        raise Refusal(f"unknown {_KINDS.get(str(root), f'member of {root}')} {key!r}", hint=nearest(str(key), members))
    return value


_KINDS = {"steps": "step", "config": "config variable"}


def _unknown_root(name: str, scope: Scope) -> Refusal:
    if name in _LITERALS:
        return Refusal(f"unknown name {name!r}", hint=f"a literal is written in backticks: `{name}`")
    hint = nearest(name, scope.roots)
    return Refusal(f"unknown name {name!r}", hint=f"{hint}; text is written in single quotes: '{name}'".lstrip("; "))
