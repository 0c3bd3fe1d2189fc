"""Where each service runs: `[services.<name>]`, of which `target` is the one line that moves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from turnout.config.readers import count, size, table, text
from turnout.config.shapes import Section, leaf

__all__ = ["SERVICE", "ServiceSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """`target` is a compute target that a plugin provides. `memory_bytes` is what it gets there, `processes` how many of it run
    at most; None: what the target gives without being asked. `options` are a plugin's own, unread."""

    target: str = "local"
    memory_bytes: int | None = None
    processes: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


SERVICE = Section(
    make=ServiceSettings,
    keys={
        "target": leaf("target", text, "The compute target that runs the service, by the name a plugin gives it."),
        "memory": leaf("memory_bytes", size, "The memory that the service gets there."),
        "options": leaf(
            "options",
            table,
            "Settings of a service that a plugin provides, as its documentation has them.",
            private=True,
        ),
        "processes": leaf("processes", count(1, 10_000), "How many processes of the service run there at most."),
    },
)
