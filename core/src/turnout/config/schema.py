"""Which settings there are: the table that reading, error messages and the reference in the documentation share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlsplit

from turnout.config.settings import (
    LONGEST_DRAIN_S,
    JournalMode,
    LimitSettings,
    PluginSettings,
    ProjectSettings,
    QueueSettings,
    RetentionSettings,
    RunnerSettings,
    Settings,
    StorageSettings,
    StoresSettings,
    TelemetrySettings,
)
from turnout.model.durability import Durability
from turnout.model.duration import parse_duration

__all__ = ["SCHEMA", "SETTINGS", "Leaf", "Named", "Section", "Setting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One setting: `field` of its section's class, and `read`, which raises `ValueError` with what is expected. What is given
    for a `private` one is in no message: somebody may have written a secret there."""

    field: str
    read: Callable[[object], Any]
    description: str
    private: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A table of `turnout.toml` and the class it becomes."""

    make: type
    keys: Mapping[str, Leaf | Section | Named]


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A table of tables whose names are the project's own: `field` of the class around it. Each is a `section`, or, where
    that is None, read by somebody else later."""

    field: str
    section: Section | None
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A setting as the reference lists it: `name` is dotted, `storage.retention.days`; `field` the attribute it becomes."""

    name: str
    field: str
    description: str
    default: Any


_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_REFERENCE = re.compile(r"(env|secret):\S+")
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


def _text(given: object) -> str:
    if not isinstance(given, str) or not given.strip():
        raise ValueError("text is expected")
    return given


def _texts(given: object) -> tuple[str, ...]:
    if not isinstance(given, list) or not all(isinstance(item, str) and item.strip() for item in given):
        raise ValueError('a list of texts is expected, ["a", "b"]')
    return tuple(given)


def _flag(given: object) -> bool:
    if not isinstance(given, bool):
        raise ValueError("true or false is expected")
    return given


def _count(least: int, most: int) -> Callable[[object], int]:
    def read(given: object) -> int:
        if isinstance(given, bool) or not isinstance(given, int) or not least <= given <= most:
            raise ValueError(f"a whole number from {least} to {most} is expected")
        return given

    return read


def _drain(given: object) -> float:
    try:
        seconds = parse_duration(given)
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds <= LONGEST_DRAIN_S:
        raise ValueError(f'a duration of at most {LONGEST_DRAIN_S:g} seconds is expected, "60s"')
    return seconds


def _address(given: object) -> str:
    if not isinstance(given, str) or not _ADDRESS.fullmatch(given):
        raise ValueError('HOST:PORT is expected, "127.0.0.1:9400" or "[::]:9400"')
    return given


def _size(given: object) -> int:
    match = _SIZE.fullmatch(given.strip()) if isinstance(given, str) else None
    if match is None or (size := int(float(match[1]) * _UNITS[match[2]])) < 1:
        raise ValueError('a size of at least one byte is expected, "500 MB" (B, KB, MB, GB, TB, or KiB, MiB, GiB, TiB)')
    return size


def _duration(given: object) -> float:
    try:
        seconds = parse_duration(given)
    except ValueError:
        seconds = 0.0
    if not 1.0 <= seconds <= 86400.0:
        raise ValueError('a duration from one second to a day is expected, "30s", "5m"')
    return seconds


def _share(given: object) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= 1:
        raise ValueError("a number from 0 to 1 is expected")
    return float(given)


def _base_url(given: object) -> str:
    url = urlsplit(given.strip()) if isinstance(given, str) else None
    if url is None or url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment:
        raise ValueError('a base URL is expected, "https://hooks.example.com"')
    return url.geturl().rstrip("/")


def _collector(given: object) -> str:
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


def _references(given: object) -> Mapping[str, str]:
    if not isinstance(given, dict) or not all(_HEADER.fullmatch(name) for name in given):
        raise ValueError('a table of header names is expected, { authorization = "env:OTLP_TOKEN" }')
    for value in given.values():
        if not isinstance(value, str) or not _REFERENCE.fullmatch(value):
            raise ValueError('a reference is expected for each header, "env:NAME" or "secret:NAME", and no value')
    return given


def _or_unlimited(read: Callable[[object], int]) -> Callable[[object], int | None]:
    def read_or_unlimited(given: object) -> int | None:
        if given == "unlimited":
            return None
        try:
            return read(given)
        except ValueError as error:
            raise ValueError(f'{error}, or "unlimited"') from error

    return read_or_unlimited


def _one_of(choices: Mapping[str, Any]) -> Callable[[object], Any]:
    def read(given: object) -> Any:
        if not isinstance(given, str) or given not in choices:
            raise ValueError(f"one of {', '.join(map(repr, choices))} is expected")
        return choices[given]

    return read


def _leaf(field: str, read: Callable[[object], Any], description: str, *, private: bool = False) -> Leaf:
    return Leaf(field=field, read=read, description=description, private=private)


_TENANT: Mapping[str, Leaf] = {
    "weight": _leaf("weight", _count(1, 1000), "How many of a customer's executions are handed out in its turn."),
    "in_flight": _leaf(
        "in_flight", _or_unlimited(_count(1, 1_000_000)), "How many of a customer's executions may run at once."
    ),
    "capacity": _leaf(
        "capacity",
        _or_unlimited(_count(1, 1_000_000_000)),
        "How many of a customer's executions may wait before senders are told to slow down; webhooks never are.",
    ),
}

SCHEMA = Section(
    make=Settings,
    keys={
        "project": Section(
            make=ProjectSettings,
            keys={
                "name": _leaf("name", _text, "The project's name; its directory's without it."),
                "url": _leaf(
                    "url", _base_url, "Where senders reach webhooks and callbacks, for all processes of the project."
                ),
            },
        ),
        "storage": Section(
            make=StorageSettings,
            keys={
                "directory": _leaf("directory", _text, "Where the embedded store keeps its files."),
                "durability": _leaf(
                    "durability",
                    _one_of({"process": Durability.PROCESS, "full": Durability.HOST}),
                    "What a write survives: `process` SIGKILL, `full` loss of power as well.",
                ),
                "retention": Section(
                    make=RetentionSettings,
                    keys={
                        "days": _leaf(
                            "days",
                            _or_unlimited(_count(1, 36500)),
                            "How many days records of ended executions are kept.",
                        ),
                        "size": _leaf(
                            "size_bytes", _or_unlimited(_size), "What records may take; the oldest go first."
                        ),
                    },
                ),
            },
        ),
        "stores": Section(
            make=StoresSettings,
            keys={
                "queue": _leaf("queue", _text, "Which queue, by the name a plugin gives it."),
                "journal": _leaf("journal", _text, "Which journal."),
                "records": _leaf("records", _text, "Which record store."),
                "state": _leaf("state", _text, "Which store of the values that flows keep."),
                "payloads": _leaf("payloads", _text, "Which store of content too large for a row."),
            },
        ),
        "backends": Named(
            field="backends",
            section=None,
            description="Tables `[backends.<name>]`: the settings of that backend, as its documentation has them.",
        ),
        "queue": Section(
            make=QueueSettings,
            keys={
                "lease": _leaf(
                    "lease_s", _duration, "After how long a silent worker's executions are given to others."
                ),
                "attempts": _leaf(
                    "attempts",
                    _count(1, 1000),
                    "How often an execution may take its worker with it before it is given up.",
                ),
                **_TENANT,
                "tenants": Named(
                    field="tenants",
                    section=Section(make=dict, keys=_TENANT),
                    description="Tables `[queue.tenants.<name>]`: `weight`, `in_flight` and `capacity` of one customer.",
                ),
            },
        ),
        "runner": Section(
            make=RunnerSettings,
            keys={
                "concurrency": _leaf("concurrency", _count(1, 10000), "How many executions run at once in a process."),
                "sandbox": _leaf("sandbox", _text, "Which sandbox runs code steps, by the name a plugin gives it."),
                "journal": _leaf(
                    "journal",
                    _one_of({mode.value: mode for mode in JournalMode}),
                    "`strict` waits for every step's row, `default` before effects and at the end.",
                ),
                "drain": _leaf("drain_s", _drain, "How long a worker's executions may finish after SIGTERM."),
                "health": _leaf(
                    "health", _address, "Where a worker serves /healthz, /readyz and /metrics; nowhere without it."
                ),
                "allow_unsafe_sandbox": _leaf(
                    "allow_unsafe_sandbox",
                    _flag,
                    "Run code of several customers although the sandbox does not keep them apart: for development alone.",
                ),
            },
        ),
        "limits": Section(
            make=LimitSettings,
            keys={
                "memory": _leaf("memory_bytes", _size, "Memory of one sandbox."),
                "result": _leaf("result_bytes", _size, "What a code step may return."),
                "files": _leaf("files", _count(1, 100_000), "How many files a code step may make."),
                "files_size": _leaf("files_bytes", _size, "What all files that a code step makes may hold together."),
                "log": _leaf("log_bytes", _size, "What a code step may log."),
                "request": _leaf("request_bytes", _size, "The body of a webhook's request."),
            },
        ),
        "telemetry": Section(
            make=TelemetrySettings,
            keys={
                "otlp": _leaf(
                    "otlp",
                    _collector,
                    "The base URL of the OpenTelemetry collector (OTLP over HTTP) that gets traces.",
                    private=True,
                ),
                "headers": _leaf(
                    "headers", _references, "Headers for the collector, each a reference to its value.", private=True
                ),
                "service_name": _leaf("service_name", _text, "`service.name` of the spans; `turnout` without it."),
                "sample": _leaf(
                    "sample", _share, "Which share of the traces that begin here is kept; others as their sender says."
                ),
            },
        ),
        "plugins": Section(
            make=PluginSettings,
            keys={"blocked": _leaf("blocked", _texts, "Installed plugins that are not loaded, by name.")},
        ),
    },
)


def _settings(section: Section, path: str) -> Iterator[Setting]:
    defaults = section.make() if section.make is not Settings else None
    for key, inner in section.keys.items():
        name = f"{path}.{key}" if path else key
        match inner:
            case Section():
                yield from _settings(inner, name)
            case Named():
                yield Setting(name=name, field=inner.field, description=inner.description, default={})
            case Leaf():
                assert inner.field in {field.name for field in fields(section.make)}
                yield Setting(
                    name=name,
                    field=inner.field,
                    description=inner.description,
                    default=getattr(defaults, inner.field),
                )


SETTINGS: tuple[Setting, ...] = tuple(_settings(SCHEMA, ""))
"""Every setting there is, in the order of the reference."""
