"""How single settings are read: each reader gives the value, or raises `ValueError` with what is expected."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from turnout.model.duration import parse_duration

__all__ = [
    "LONGEST_DRAIN_S",
    "address",
    "base_url",
    "collector",
    "count",
    "drain_time",
    "duration",
    "flag",
    "one_of",
    "options",
    "or_unlimited",
    "references",
    "share",
    "size",
    "table",
    "text",
    "texts",
]

LONGEST_DRAIN_S = 110.0
"""ECS kills what has not ended 120 s after its SIGTERM."""

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_REFERENCE = re.compile(r"[a-z][a-z0-9+-]*:[^\s/]\S*")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)")
_ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s:\[\]]+):[0-9]{1,5}")
_UNITS = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}


def text(given: object) -> str:
    if not isinstance(given, str) or not given.strip():
        raise ValueError("text is expected")
    return given


def texts(given: object) -> tuple[str, ...]:
    if not isinstance(given, list) or not all(isinstance(item, str) and item.strip() for item in given):
        raise ValueError('a list of texts is expected, ["a", "b"]')
    return tuple(given)


def table(given: object) -> Mapping[str, object]:
    if not isinstance(given, dict):
        raise ValueError("a table is expected")
    return given


def options(example: str) -> Callable[[object], Mapping[str, Any]]:
    """A table that somebody else reads later, such as `example`."""

    def read(given: object) -> Mapping[str, Any]:
        if not isinstance(given, dict):
            raise ValueError(f"a table is expected, {example}")
        return given

    return read


def flag(given: object) -> bool:
    if not isinstance(given, bool):
        raise ValueError("true or false is expected")
    return given


def count(least: int, most: int) -> Callable[[object], int]:
    def read(given: object) -> int:
        if isinstance(given, bool) or not isinstance(given, int) or not least <= given <= most:
            raise ValueError(f"a whole number from {least} to {most} is expected")
        return given

    return read


def drain_time(given: object) -> float:
    try:
        seconds = parse_duration(given)
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds <= LONGEST_DRAIN_S:
        raise ValueError(f'a duration of at most {LONGEST_DRAIN_S:g} seconds is expected, "60s"')
    return seconds


def address(given: object) -> str:
    if not isinstance(given, str) or not _ADDRESS.fullmatch(given):
        raise ValueError('HOST:PORT is expected, "127.0.0.1:9400" or "[::]:9400"')
    return given


def size(given: object) -> int:
    match = _SIZE.fullmatch(given.strip()) if isinstance(given, str) else None
    if match is None or (size := int(float(match[1]) * _UNITS[match[2]])) < 1:
        raise ValueError('a size of at least one byte is expected, "500 MB" (B, KB, MB, GB, TB, or KiB, MiB, GiB, TiB)')
    return size


def duration(given: object) -> float:
    try:
        seconds = parse_duration(given)
    except ValueError:
        seconds = 0.0
    if not 1.0 <= seconds <= 86400.0:
        raise ValueError('a duration from one second to a day is expected, "30s", "5m"')
    return seconds


def share(given: object) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= 1:
        raise ValueError("a number from 0 to 1 is expected")
    return float(given)


def base_url(given: object) -> str:
    url = urlsplit(given.strip()) if isinstance(given, str) else None
    if url is None or url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment:
        raise ValueError('a base URL is expected, "https://hooks.example.com"')
    return url.geturl().rstrip("/")


def collector(given: object) -> str:
    text = given.strip() if isinstance(given, str) else ""
    expected = 'the base URL of an OTLP/HTTP collector is expected, "http://collector:4318"'
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise ValueError(expected) from None  # it says what stands where the port does: part of a password, maybe
    if url.scheme not in ("http", "https") or not url.hostname or port == 0 or url.query or url.fragment:
        raise ValueError(expected)
    if "@" in url.netloc:
        raise ValueError("a URL without credentials is expected; put them into telemetry.headers, by reference")
    return text


def references(given: object) -> Mapping[str, str]:
    if not isinstance(given, dict) or not all(_HEADER.fullmatch(name) for name in given):
        raise ValueError('a table of header names is expected, { authorization = "env:OTLP_TOKEN" }')
    for value in given.values():
        if not isinstance(value, str) or not _REFERENCE.fullmatch(value):
            raise ValueError('a reference is expected for each header, "env:NAME", "secret:NAME", and no value')
    return given


def or_unlimited(read: Callable[[object], int]) -> Callable[[object], int | None]:
    def read_or_unlimited(given: object) -> int | None:
        if given == "unlimited":
            return None
        try:
            return read(given)
        except ValueError as error:
            raise ValueError(f'{error}, or "unlimited"') from error

    return read_or_unlimited


def one_of(choices: Mapping[str, Any]) -> Callable[[object], Any]:
    def read(given: object) -> Any:
        if not isinstance(given, str) or given not in choices:
            raise ValueError(f"one of {', '.join(map(repr, choices))} is expected")
        return choices[given]

    return read
