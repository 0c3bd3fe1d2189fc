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

__all__ = ["MOST_S", "QUEUE", "RUNNER", "Function", "functions_of"]

QUEUE: Final = "sqs"
"""The queue whose messages call the runner."""
RUNNER: Final = "runner"
_RUNNER_MB: Final = 1769
"""With so much a function has a whole processor (https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html)."""
_LONGEST: Final = 64
"""Characters of a function's name."""
_START_S: Final = 15.0
"""What a call may need before its handler is called: a cold start, connections to stores."""
MOST_S: Final = 900
_STREAM_S: Final = 120
"""A consumer's call takes what has gathered since the last one; the next minute's goes on."""
_MINUTE_S: Final = 60.0


Kind = Literal["timer", "consumer", "work", "routes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """`handler` is its name in Python, `name` in Lambda, `id` in the template. `trigger` is a timer's or consumer's name;
    `every_min` is how often a schedule calls it, None for one that answers requests or is `told` by the messages of the project's queue."""

    service: str
    kind: Kind
    trigger: str
    handler: str
    name: str
    id: str
    timeout_s: int
    memory_mb: int
    processes: int | None
    every_min: int | None = None
    told: bool = False


def functions_of(deployment: Deployment, memory_mb: int) -> tuple[Function, ...]:
    """In the order of their handlers' names. `SettingsError` if two would have the same name."""
    found = [
        _function(deployment, placed, trigger, memory_mb)
        for placed in deployment.services
        for trigger in _triggers(placed, told=deployment.queue == QUEUE)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trigger:
    kind: Kind
    name: str
    timeout_s: float
    every_min: int | None = None
    told: bool = False


def _triggers(placed: Placed, *, told: bool) -> Iterator[_Trigger]:
    """`told`: messages of the queue can call the runner."""
    shape = placed.shape
    for timer in shape.timers:
        # A schedule of EventBridge's has whole minutes.
        every_min = max(1, math.ceil(timer.every_s / _MINUTE_S))
        yield _Trigger(kind="timer", name=timer.name, timeout_s=shape.needs.call_s + _START_S, every_min=every_min)
    for consumer in shape.consumers:
        yield _Trigger(kind="consumer", name=consumer.name, timeout_s=_STREAM_S, every_min=1)
    if shape.needs.in_calls:
        runs = shape.name == RUNNER
        called = {"told": True} if runs and told else {"every_min": 1}
        yield _Trigger(kind="work", name="work", timeout_s=MOST_S if runs else _STREAM_S, **called)
    if shape.routes:
        yield _Trigger(kind="routes", name="http", timeout_s=shape.needs.call_s + _START_S)


def _function(
    deployment: Deployment,
    placed: Placed,
    trigger: _Trigger,
    memory_mb: int,
) -> Function:
    service = placed.shape.name
    words = [*_words(service), *_words(trigger.name)]
    if service == RUNNER:
        memory_mb = max(memory_mb, _RUNNER_MB)
    memory = memory_mb if placed.memory_bytes is None else math.ceil(placed.memory_bytes / (1024 * 1024))
    return Function(
        service=service,
        kind=trigger.kind,
        trigger=trigger.name,
        handler="_".join(words),
        name=_bounded("-".join([*_words(deployment.project), *_words(deployment.environment), *words])),
        id="".join(word.capitalize() for word in words),
        timeout_s=min(MOST_S, math.ceil(trigger.timeout_s)),
        memory_mb=max(128, memory),
        processes=placed.processes,
        every_min=trigger.every_min,
        told=trigger.told,
    )


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[^A-Za-z0-9]+", text.lower()) if word]


def _bounded(name: str) -> str:
    if len(name) <= _LONGEST:
        return name
    return f"{name[: _LONGEST - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
