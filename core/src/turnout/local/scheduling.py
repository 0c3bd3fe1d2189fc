"""The scheduler of a platform on one machine, made of its parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from turnout.services.customers import LOCAL_TENANT
from turnout.services.scheduler.polls import Polls
from turnout.services.scheduler.service import Scheduler
from turnout.services.scheduler.started import RecordedStarts
from turnout.services.submission import Instance

if TYPE_CHECKING:
    from turnout.local.platform import Platform

__all__ = ["scheduler_of"]


def scheduler_of(platform: Platform) -> Scheduler:
    """Of the instances of all customers, those of the project's own files among them."""
    stores = platform.stores

    async def config(instance: Instance) -> Mapping[str, Any]:
        return (await platform.backends.instances.settings(instance.tenant, instance.settings)).config

    return Scheduler(
        stores.catalog,
        stores.journal,
        platform.tenants.deployments,
        platform.submission,
        config,
        RecordedStarts(stores.records, stores.clock),
        stores.clock,
        polls=Polls(platform.backends, platform.engine.resources),
        own=LOCAL_TENANT,
    )
