"""Which functions a deployment comes to: one for each trigger of each service."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from turnout.errors import SettingsError
from turnout.interfaces.deployment import Deployment, Placed

__all__ = ["Function", "functions_of"]

_LONGEST: Final = 64
"""Characters of a function's name."""
_START_S: Final = 15.0
"""What a call may need before its handler is called: a cold start, connections to stores."""
_MOST_S: Final = 900
_STREAM_S: Final = 120
"""A consumer's call takes what has gathered since the last one; the next minute's goes on."""
_MINUTE_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """`handler` is its name in Python, `name` in Lambda, `id` in the template. `trigger` is a timer's or consumer's name;
    `every_min` is how often a schedule calls it, None for one that answers requests."""

    service: str
    kind: Literal["timer", "consumer", "routes"]
    trigger: str
    handler: str
    name: str
    id: str
    timeout_s: int
    memory_mb: int
    processes: int | None
    every_min: int | None = None


def functions_of(deployment: Deployment, memory_mb: int) -> tuple[Function, ...]:
    """In the order of their handlers' names. `SettingsError` if two would have the same name."""
    found = [
        _function(deployment, placed, kind, trigger, timeout_s, every_min, memory_mb)
        for placed in deployment.services
        for kind, trigger, timeout_s, every_min in _triggers(placed)
    ]
    for part in ("handler", "name", "id"):
        taken: dict[str, Function] = {}
        for function in found:
            other = taken.setdefault(getattr(function, part), function)
            if other is not function:
                raise SettingsError(
                    f"{function.service}/{function.trigger} and {other.service}/{other.trigger} would be the same function",
                    setting=f"services.{function.service}.target",
                )
    return tuple(sorted(found, key=lambda function: function.handler))


def _triggers(placed: Placed) -> Iterator[tuple[Literal["timer", "consumer", "routes"], str, float, int | None]]:
    shape = placed.shape
    for timer in shape.timers:
        # A schedule of EventBridge's has whole minutes.
        yield "timer", timer.name, shape.needs.call_s + _START_S, max(1, math.ceil(timer.every_s / _MINUTE_S))
    for consumer in shape.consumers:
        yield "consumer", consumer.name, _STREAM_S, 1
    if shape.routes:
        yield "routes", "http", shape.needs.call_s + _START_S, None


def _function(
    deployment: Deployment,
    placed: Placed,
    kind: Literal["timer", "consumer", "routes"],
    trigger: str,
    timeout_s: float,
    every_min: int | None,
    memory_mb: int,
) -> Function:
    service = placed.shape.name
    words = [*_words(service), *_words(trigger)]
    memory = memory_mb if placed.memory_bytes is None else math.ceil(placed.memory_bytes / (1024 * 1024))
    return Function(
        service=service,
        kind=kind,
        trigger=trigger,
        handler="_".join(words),
        name=_bounded("-".join([*_words(deployment.project), *_words(deployment.environment), *words])),
        id="".join(word.capitalize() for word in words),
        timeout_s=min(_MOST_S, math.ceil(timeout_s)),
        memory_mb=max(128, memory),
        processes=placed.processes,
        every_min=every_min,
    )


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[^A-Za-z0-9]+", text.lower()) if word]


def _bounded(name: str) -> str:
    if len(name) <= _LONGEST:
        return name
    return f"{name[: _LONGEST - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
