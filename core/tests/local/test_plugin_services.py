"""Services that plugins provide: made, placed and served beside Turnout's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import pytest
from pydantic import BaseModel, ConfigDict
from turnout.config import ServiceSettings, Settings
from turnout.definition.loader import load_yaml_text
from turnout.errors import NotFound, SettingsError, Unsupported
from turnout.hookspecs import hookimpl
from turnout.interfaces.catalog import Address, CatalogChange
from turnout.interfaces.service import Consumer, Delivery, Invocation, Service, ServiceOpening
from turnout.local.platform import LOCAL_TENANT, Platform
from turnout.local.services import every_service, service_shapes
from turnout.model.events import Ended
from turnout.plugins import Registry, load_plugins
from turnout.values import Value

DEFINITION = """
integration: shop
version: 1.0.0
flows:
  take: {trigger: {webhook: {}}, steps: [{id: done, stop: {output: "${{ trigger.count }}"}}]}
"""


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    rate: int = 1


class Billing(Service):
    """Counts what each customer's executions cost."""

    name = "billing"

    def __init__(self, opening: ServiceOpening, options: Options) -> None:
        self._opening = opening
        self._rate = options.rate

    @classmethod
    async def connect(cls, opening: ServiceOpening) -> Self:
        return cls(opening, opening.read(Options))

    def consumers(self) -> Sequence[Consumer]:
        return [Consumer(name="billing", events=frozenset({"ended"}), handle=self.bill)]

    async def bill(self, deliveries: Sequence[Delivery], call: Invocation) -> Sequence[str]:
        for delivery in deliveries:
            assert isinstance(delivery.event, Ended)
            address = Address(kind="billing", tenant=delivery.info.tenant, name=delivery.id)
            await self._opening.catalog.write(CatalogChange(address=address, body=str(self._rate).encode()))
        return []

    async def start(self) -> None:
        """Nothing runs on its own."""

    async def stop(self) -> None:
        """Nothing to stop."""

    async def run(self, tenant: str, instance: str) -> str:
        return await self._opening.start(tenant, instance, "take", Value({"count": 3}), deduplication_id="once")


class Bare(Billing):
    name = "ingress"


class Provider:
    def __init__(self, *services: type[Service]) -> None:
        self._services = services

    @hookimpl
    def turnout_services(self) -> Mapping[str, type[Service]]:
        return {service.name: service for service in self._services}


def registry_with(*services: type[Service]) -> Registry:
    return load_plugins(extra=[Provider(*services)])


def settings_in(directory: Path, **options: object) -> Settings:
    return Settings(root=directory, services={"billing": ServiceSettings(options=options)})


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    platform = await Platform.open(settings_in(tmp_path, rate=7), registry_with(Billing))
    await platform.deploy(load_yaml_text(DEFINITION, directory=str(tmp_path)), config={}, connections={})
    yield platform
    await platform.close()


async def billing_of(platform: Platform) -> Billing:
    [found] = [service for service in await every_service(platform) if service.name == "billing"]
    assert isinstance(found, Billing)
    return found


async def test_a_plugins_service_starts_flows_and_reads_what_became_of_them(platform: Platform) -> None:
    billing = await billing_of(platform)

    id = await billing.run(LOCAL_TENANT, "shop")
    same = await billing.run(LOCAL_TENANT, "shop")
    await platform.follow(id)
    await platform.stream.catch_up(billing.consumers())

    [entry] = await platform.stores.catalog.entries("billing", tenant=LOCAL_TENANT)
    assert (same, entry.body) == (id, b"7")


async def test_it_starts_nothing_of_a_customer_who_has_no_such_instance(platform: Platform) -> None:
    billing = await billing_of(platform)

    with pytest.raises(NotFound, match="no instance 'shop'"):
        await billing.run("other", "shop")


async def test_it_is_listed_with_what_calls_it(tmp_path: Path) -> None:
    shapes = {shape.name: shape for shape in await service_shapes(settings_in(tmp_path), registry_with(Billing))}

    assert shapes["billing"].triggers == ("events ended",)


async def test_an_option_that_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"services\.billing\.options\.rat: unknown setting: did you mean 'rate'"):
        await service_shapes(settings_in(tmp_path, rat=1), registry_with(Billing))


async def test_a_name_of_turnouts_own_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="the name of one of Turnout's own"):
        await service_shapes(settings_in(tmp_path), registry_with(Bare))


async def test_a_service_that_nobody_can_make_says_so(platform: Platform) -> None:
    class Unmade(Service):
        name = "unmade"

        async def start(self) -> None:
            """Nothing."""

        async def stop(self) -> None:
            """Nothing."""

    platform.registry = registry_with(Unmade)

    with pytest.raises(Unsupported, match="Unmade"):
        await every_service(platform)
