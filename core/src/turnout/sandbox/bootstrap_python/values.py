"""Values in and out as JSON text, by the interpreter's own scanner and encoder, taken before anybody could replace them.

Integers keep every digit. Bytes and files in a result become files; they are looked for only where the encoder met one.
"""

from __future__ import annotations

from _json import encode_basestring, make_encoder, make_scanner

from . import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

__all__ = ["parse", "read", "write", "written_small"]

_is_file, _InputFile = files.is_file, files.InputFile


class _Reading:
    """What the scanner asks of its decoder."""

    strict = False
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo = None


_scan = make_scanner(_Reading())  # type: ignore[arg-type]


def parse(text: bytes) -> Any:
    """Data of ours from JSON text."""
    return _scan(text.decode(), 0)[0]


def read(body: bytes, listed: Sequence[dict[str, Any]]) -> object:
    """The input: JSON text, with files at their JSON pointers."""
    value = _scan(body.decode().lstrip(), 0)[0]
    for number, about in enumerate(listed):
        file = _InputFile(number, about["name"], about["size"], about["type"])
        value = _placed(value, str(about["pointer"]), file)
    return value


def _placed(value: Any, pointer: str, file: object) -> object:
    if not pointer:
        return file
    *way, last = (part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])
    target = value
    for part in way:
        target = target[int(part)] if isinstance(target, list) else target[part]
    if isinstance(target, list):
        target[int(last)] = file
    else:
        target[last] = file
    return value


def write(value: object) -> tuple[bytes, list[tuple[str, object]]]:
    """The result: JSON text, and what of it became a file by its pointer. `TypeError`, `ValueError` or `RecursionError`
    where it is no JSON."""
    met = False

    def other(item: object) -> object:
        nonlocal met
        if _is_file(item):
            met = True
            return None
        raise TypeError(_no_json(item))

    text = "".join(_encoder({}, other)(value, 0))
    return _utf8(text), list(_found(value)) if met else []


def written_small(value: object) -> bytes:
    """Data of our own as JSON text."""
    return _utf8("".join(_encoder({}, _no_json)(value, 0)))


def _encoder(marks: dict[int, Any], other: Callable[[Any], Any]) -> Any:
    sort_keys = skip_keys = allow_nan = False
    return make_encoder(marks, other, encode_basestring, None, ":", ",", sort_keys, skip_keys, allow_nan)


def _no_json(item: object) -> str:
    kind = type(item)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"{name} is not JSON: return text, numbers, booleans, None, lists and dicts of them, or bytes for a file"


def _utf8(text: str) -> bytes:
    """Half a surrogate pair, which UTF-8 cannot hold, becomes U+FFFD, as everywhere on the web."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def _found(value: object) -> Iterator[tuple[str, object]]:
    """What is a file, with its JSON pointer, without recursion."""
    open_values = [("", value)]
    while open_values:
        pointer, item = open_values.pop()
        if _is_file(item):
            yield pointer, item
        elif isinstance(item, dict):
            open_values += [(f"{pointer}/{_key(key)}", inner) for key, inner in item.items()]
        elif isinstance(item, (list, tuple)):
            open_values += [(f"{pointer}/{at}", inner) for at, inner in enumerate(item)]


def _key(key: Any) -> str:
    """A dictionary's key as the encoder writes it, escaped for a pointer."""
    if isinstance(key, str):
        text = key
    elif key is None or isinstance(key, bool):
        text = {None: "null", True: "true", False: "false"}[key]
    else:
        text = float.__repr__(key) if isinstance(key, float) else int.__repr__(key)
    return text.replace("~", "~0").replace("/", "~1")
