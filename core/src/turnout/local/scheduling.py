"""The scheduler of a platform on one machine, made of its parts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from turnout.errors import NotFound
from turnout.local.instances import LocalInstances
from turnout.services.scheduler.polls import Polls
from turnout.services.scheduler.service import Scheduler
from turnout.services.scheduler.started import RecordedStarts
from turnout.services.submission import Instance

if TYPE_CHECKING:
    from turnout.local.platform import Platform

__all__ = ["scheduler_of"]


class _Project:
    """The instances of the project's own files."""

    def __init__(self, instances: LocalInstances) -> None:
        self._instances = instances

    async def active(self) -> AsyncIterator[Instance]:
        for instance in self._instances.all():
            yield instance

    async def get(self, customer: str, name: str) -> Instance:
        found = await self._instances.get(name)
        if found.tenant != customer:
            raise NotFound("instance", name)
        return found


def scheduler_of(platform: Platform, own: str) -> Scheduler:
    stores = platform.stores

    async def config(instance: Instance) -> Mapping[str, Any]:
        return (await platform.backends.instances.settings(instance.tenant, instance.settings)).config

    return Scheduler(
        stores.catalog,
        stores.journal,
        _Project(platform.instances),
        platform.submission,
        config,
        RecordedStarts(stores.records, stores.clock),
        stores.clock,
        polls=Polls(platform.backends, platform.engine.resources),
        own=own,
    )
