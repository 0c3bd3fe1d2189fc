"""From settings to what each compute target is to run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Final

from turnout.config import Settings
from turnout.interfaces.deployment import Deployment, Placed, ServiceShape
from turnout.interfaces.permission import Permission

__all__ = ["SECRET_KEY", "deployments", "variables_of"]

SECRET_KEY: Final = "TURNOUT_SECRET_KEY"  # noqa: S105 - its name
"""The key ring: every process of one installation must have the same."""
_REFERENCE: Final = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")


def deployments(
    settings: Settings, services: Sequence[ServiceShape], permissions: Sequence[Permission] = ()
) -> tuple[Deployment, ...]:
    """What each target is to run, by the targets' names. `permissions` are those of the backends that the settings choose."""
    placed: dict[str, list[Placed]] = {}
    for shape in services:
        given = settings.service(shape.name)
        place = Placed(shape=shape, memory_bytes=given.memory_bytes, processes=given.processes)
        placed.setdefault(given.target, []).append(place)
    return tuple(
        Deployment(
            project=settings.name,
            environment=settings.environment,
            root=settings.root,
            target=target,
            services=tuple(placed[target]),
            variables=variables_of(settings),
            permissions=tuple(permissions),
            options=settings.targets.get(target, {}),
            metrics=settings.metrics.kind,
            queue=settings.stores.queue,
            queue_options=settings.backends.get(settings.stores.queue, {}),
        )
        for target in sorted(placed)
    )


def variables_of(settings: Settings) -> tuple[str, ...]:
    """The environment variables that must be set wherever a service runs: those that settings refer to, and the key ring."""
    named = (found[1] for text in _texts(settings) if (found := _REFERENCE.fullmatch(text)))
    return tuple(sorted({SECRET_KEY, *named}))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)
    elif is_dataclass(value):
        for one in fields(value):
            yield from _texts(getattr(value, one.name))
