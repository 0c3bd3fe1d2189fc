"""Where logs are shipped: tables `[logs.<name>]`, each a sink of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from turnout.config.readers import one_of, options, text, texts
from turnout.config.shapes import Section, leaf

__all__ = ["LOG", "LOG_SOURCES", "LogSettings"]

LOG_SOURCES: Final = ("log", "steps", "executions", "platform")
_LEVELS: Final = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """`kind` is a sink that a plugin provides, `options` its own settings, unread. It gets lines of `level` and above, of the
    `sources`, of these `customers` (all, where none is named)."""

    kind: str = ""
    level: str = "info"
    sources: tuple[str, ...] = ("log", "executions", "platform")
    customers: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


def _sources(given: object) -> tuple[str, ...]:
    named = texts(given)
    if not named or any(name not in LOG_SOURCES for name in named):
        raise ValueError(f"a list of {', '.join(map(repr, LOG_SOURCES))} is expected")
    return named


LOG = Section(
    make=LogSettings,
    keys={
        "kind": leaf(
            "kind",
            text,
            "The sink, by the name a plugin gives it: `file`, `datadog`, `otlp`, `cloudwatch` of `turnout-aws`.",
        ),
        "level": leaf(
            "level", one_of({level: level for level in _LEVELS}), "Lines of this level and above are shipped."
        ),
        "sources": leaf(
            "sources",
            _sources,
            "What is shipped: `log` (what flows log), `steps`, `executions` (their begin and end), `platform` (its own log).",
        ),
        "customers": leaf("customers", texts, "Only lines of these customers; of all without it."),
        "options": leaf(
            "options",
            options('{ path = "logs/all.jsonl" }'),
            "The sink's own settings, as its documentation has them.",
            private=True,
        ),
    },
)
