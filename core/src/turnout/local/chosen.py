"""Which backends a project's settings choose, without opening any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from turnout.config import Settings
from turnout.errors import NotFound, SettingsError
from turnout.interfaces.opening import Openable, Opening
from turnout.interfaces.permission import Permission
from turnout.plugins import Kind, Registry

__all__ = ["Chosen", "chosen_backends", "permissions_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A backend with what it would be opened with. `setting` is what chooses it: `stores.queue`."""

    setting: str
    kind: type[Openable]
    opening: Opening


def chosen_backends(settings: Settings, registry: Registry) -> tuple[Chosen, ...]:
    """The stores, the queue, the sinks of logs and of metrics, the channels of alerts. `SettingsError` names one that no plugin provides."""
    opening = Opening(directory=settings.storage_directory)
    return tuple(
        Chosen(setting=setting, kind=_find(registry, kind, name, setting), opening=replace(opening, **given))
        for setting, kind, name, given in _choices(settings)
    )


def permissions_of(chosen: Sequence[Chosen]) -> tuple[Permission, ...]:
    """What all of them do in their cloud. `SettingsError` names an option that is wrong."""
    return tuple(permission for one in chosen for permission in one.kind.permissions(one.opening))


def _choices(settings: Settings) -> Iterator[tuple[str, Kind, str, Mapping[str, Any]]]:
    for one in fields(settings.stores):
        name = getattr(settings.stores, one.name)
        given = {"name": name, "options": settings.backends.get(name, {})}
        if one.name == "queue":
            yield "stores.queue", Kind.QUEUES, name, given
        else:
            yield f"stores.{one.name}", Kind.STORES, f"{one.name}:{name}", given
    for name, sink in settings.logs.items():
        options = {"table": "logs", "name": f"{name}.options", "options": sink.options}
        yield f"logs.{name}.kind", Kind.STORES, f"logs:{sink.kind}", options
    if settings.metrics.kind:
        options = {"table": "metrics", "name": "options", "options": settings.metrics.options}
        yield "metrics.kind", Kind.STORES, f"metrics:{settings.metrics.kind}", options
    for name, channel in settings.alerts.channels.items():
        options = {"table": "alerts.channels", "name": name, "options": _without_kind(channel)}
        yield f"alerts.channels.{name}.kind", Kind.STORES, f"alerts:{channel.get('kind', '')}", options


def _without_kind(channel: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in channel.items() if name != "kind"}


def _find(registry: Registry, kind: Kind, name: str, setting: str) -> type[Openable]:
    try:
        found: type[Openable] = registry.find(kind, name)
    except NotFound as error:
        raise SettingsError(f"{setting}: {error}", setting=setting) from error
    return found
