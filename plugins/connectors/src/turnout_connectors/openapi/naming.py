"""What operations are called: the name that a person would choose, from the document's own or from method and path."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

__all__ = ["name_of", "snake", "unique"]

_VERBS: Final[Mapping[str, str]] = {
    "get": "get",
    "head": "check",
    "options": "options",
    "post": "create",
    "put": "replace",
    "patch": "update",
    "delete": "delete",
}
_CODEGEN: Final = re.compile(r"Using(?:GET|HEAD|OPTIONS|POST|PUT|PATCH|DELETE)(?:_\d+)?$")
_CONTROLLER: Final = re.compile(r"Controller(?=[_.])")
_VERSION: Final = re.compile(r"(?:api|rest|v\d+(?:\.\d+)*)", re.IGNORECASE)
_LONGEST: Final = 80


def name_of(operation_id: str, method: str, path: str) -> str:
    """`operation_id` is empty where the document has none."""
    if operation_id and snake(operation_id) not in _mechanical(method, path):
        generated = f"{re.sub(r'[^0-9A-Za-z_]', '_', path)}_{method}"  # as FastAPI makes them
        text = operation_id.removesuffix(generated) or operation_id
        found = snake(_CONTROLLER.sub("", _CODEGEN.sub("", text)))
        if found:
            return found[:_LONGEST].strip("_")
    return (_from_path(method, path) or method)[:_LONGEST].strip("_")


def _mechanical(method: str, path: str) -> tuple[str, str]:
    """Names that are made of method and path alone, `GetAccountsAccount`, and no better than none."""
    parts = [part for part in path.split("/") if part]
    without = [part for part in parts if not _VERSION.fullmatch(part)]
    return snake("-".join([method, *parts])), snake("-".join([method, *without]))


def snake(text: str) -> str:
    """`listOrderItems` and `orders/list-items` with underscores."""
    text = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", text)
    text = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", text)
    return re.sub(r"[^0-9a-z]+", "_", text.lower()).strip("_")


def unique(names: Iterable[tuple[str, str, str]]) -> list[str]:
    """One for each of `(name, method, path)`: those that would be alike get their method, then a number."""
    given = list(names)
    counts: dict[str, int] = {}
    for name, _, _ in given:
        counts[name] = counts.get(name, 0) + 1
    taken: set[str] = {name for name, count in counts.items() if count == 1}
    found = []
    for name, method, path in given:
        own = name
        if counts[name] > 1:
            own = next(one for one in _others(name, method, path) if one not in taken)
            taken.add(own)
        found.append(own)
    return found


def _others(name: str, method: str, path: str) -> Iterable[str]:
    yield name
    yield f"{name}_{method}"
    yield f"{name}_of_{snake(path)}"[:_LONGEST]
    number = 2
    while True:
        yield f"{name}_{number}"
        number += 1


def _from_path(method: str, path: str) -> str:
    """`GET /users/{id}/posts` lists a user's posts, `POST /orders/{id}/cancel` cancels an order."""
    parts = [part for part in path.split("/") if part]
    words = [snake(part) for part in parts if not part.startswith("{") and not _VERSION.fullmatch(part)]
    if not words:
        return method
    last, around = words[-1], [_singular(word) for word in words[:-1]]
    one = parts[-1].startswith("{")
    if one:
        verb = "update" if method == "post" else _VERBS.get(method, method)
        return "_".join([verb, *around, _singular(last)])
    under = len(parts) > 1 and parts[-2].startswith("{")
    if method == "post" and under and _singular(last) == last:
        return "_".join([last, *around])
    if method == "get":
        return "_".join(["list" if _singular(last) != last else "get", *around, last])
    return "_".join([_VERBS.get(method, method), *around, _singular(last) if method == "post" else last])


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word
