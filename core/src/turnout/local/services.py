"""Which services a platform on one machine has, made of its parts."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from turnout.config import Settings, StoresSettings, TelemetrySettings
from turnout.errors import SettingsError
from turnout.interfaces.deployment import ConsumerShape, RouteShape, ServiceShape, TimerShape
from turnout.interfaces.service import Service, ServiceOpening
from turnout.local.api import api_of
from turnout.local.measuring import backlog_of
from turnout.services.removal import Upkeep
from turnout.values import Value

if TYPE_CHECKING:
    from turnout.local.platform import Platform
    from turnout.plugins import Registry

_log = logging.getLogger("turnout.consumers")

__all__ = ["WORKER_SERVICES", "consumer_names", "every_service", "service_shapes", "services_of"]

WORKER_SERVICES: Final = ("recovery", "runner")
"""Those that `turnout worker` runs; `turnout serve` has all others."""


def services_of(platform: Platform) -> tuple[Service, ...]:
    """All of them, in the order of their start."""
    return (
        platform.metadata,
        platform.retention,
        platform.recovery,
        platform.runner,
        platform.ingress,
        platform.alerting.service,
        Upkeep(platform.tenants.removal),
        platform.logs,
        api_of(platform),
        platform.oauth,
        platform.scheduler,
        *backlog_of(platform.settings, platform.stores),
    )


async def every_service(platform: Platform) -> tuple[Service, ...]:
    """The platform's own and those that plugins provide. `SettingsError` names an option of one of these that is wrong."""
    own = services_of(platform)
    taken = {service.name for service in own}
    provided = []
    for name, kind in sorted(platform.registry.services.items()):
        if name in taken:
            raise SettingsError(
                f"a plugin provides a service {name!r}, which is the name of one of Turnout's own: block it in `plugins.blocked`",
                setting="plugins.blocked",
            )
        provided.append(await kind.connect(_opening(platform, name)))
    return (*own, *provided)


async def consumer_names(platform: Platform) -> tuple[str, ...]:
    """Of every consumer that is configured, whether or not this process serves it: the journal keeps rows for them."""
    services = services_of(platform)
    if any(name not in {service.name for service in services} for name in platform.registry.services):
        try:
            services = await every_service(platform)
        except SettingsError as error:
            _log.warning("the event stream is not kept for plugins' services: %s", error)
    return tuple(consumer.name for service in services for consumer in service.consumers())


def _opening(platform: Platform, name: str) -> ServiceOpening:
    stores = platform.stores

    async def start(tenant: str, instance: str, flow: str, trigger: Value, *, deduplication_id: str = "") -> str:
        found = await platform.tenants.deployments.get(tenant, instance)
        accepted = await platform.submission.accept(found, flow, trigger, deduplication_id=deduplication_id)
        return accepted.id

    return ServiceOpening(
        name=name,
        options=platform.settings.service(name).options,
        clock=stores.clock,
        secret=stores.references.resolve,
        catalog=stores.catalog,
        records=stores.records,
        payloads=stores.payloads,
        state=stores.state,
        start=start,
    )


async def service_shapes(settings: Settings, registry: Registry) -> tuple[ServiceShape, ...]:
    """The services of a project with these settings, and what calls each. None of its stores is opened, and no sandbox: the
    services are made of empty ones, in a directory that is gone afterwards."""
    from turnout.local.platform import Platform

    with TemporaryDirectory(prefix="turnout-") as directory:
        empty = replace(
            settings,
            root=Path(directory),
            stores=StoresSettings(),
            backends={},
            runner=replace(settings.runner, sandbox="process"),
            telemetry=TelemetrySettings(),
        )
        platform = await Platform.open(empty, registry)
        try:
            return tuple(_shape(service) for service in await every_service(platform))
        finally:
            await platform.close(record=False)


def _shape(service: Service) -> ServiceShape:
    return ServiceShape(
        name=service.name,
        routes=tuple(RouteShape(method=route.method, path=route.path) for route in service.routes()),
        timers=tuple(TimerShape(name=timer.name, every_s=timer.every_s) for timer in service.timers()),
        consumers=tuple(
            ConsumerShape(name=consumer.name, events=tuple(sorted(consumer.events))) for consumer in service.consumers()
        ),
        needs=service.needs,
    )
