"""The service `backlog` of a platform, where settings say where to publish, and what a worker adds to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnout.services.backlog import Backlog, Presence, Presences

if TYPE_CHECKING:
    from turnout.config import Settings
    from turnout.interfaces.service import Service
    from turnout.local.platform import Platform
    from turnout.local.stores import Stores

__all__ = ["backlog_of", "presence_of"]


def backlog_of(settings: Settings, stores: Stores) -> tuple[Service, ...]:
    if not settings.metrics.kind:
        return ()
    presences = Presences(stores.catalog, stores.clock)
    return (Backlog(settings.deployment, stores.queue, presences, stores.clock, stores.metric_sink),)


def presence_of(platform: Platform) -> tuple[Service, ...]:
    if not platform.settings.metrics.kind:
        return ()
    stores = platform.stores
    return (Presence(Presences(stores.catalog, stores.clock), platform.runner.worker, stores.clock),)
