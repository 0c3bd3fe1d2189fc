"""Customers with what is published, deployed and connected, made of a platform's parts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from turnout.errors import NotFound
from turnout.local.instances import LocalInstances
from turnout.services.api_keys import ApiKeys
from turnout.services.customers import Customers
from turnout.services.erasure import Erasure, ErasureParts
from turnout.services.instances import DeploymentParts, Deployments
from turnout.services.lifecycle import LifecycleFlows
from turnout.services.removal import Removal, RemovalParts
from turnout.services.submission import Instance
from turnout.services.versions import Versions

if TYPE_CHECKING:
    from turnout.local.platform import Platform
    from turnout.local.tenancy import Tenancy

__all__ = ["Tenants"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenants:
    """What operations on customers, their instances and connections are called on."""

    customers: Customers
    versions: Versions
    deployments: Deployments
    removal: Removal
    _tenancy: Tenancy
    _own: LocalInstances

    @classmethod
    def of(cls, platform: Platform, tenancy: Tenancy) -> Tenants:
        stores = platform.stores
        customers = Customers(stores.catalog, stores.clock)
        versions = Versions(stores.catalog, stores.clock, stores.bundles, platform.admission.check_bundle)
        lifecycle = LifecycleFlows(stores.catalog, platform.submission)

        async def beside(instance: Instance) -> None:
            if tenancy.restricts:
                others = [other async for other in _all(deployments, platform.instances)]
                same = [other for other in others if (other.tenant, other.name) != (instance.tenant, instance.name)]
                tenancy.check_instances([*same, instance])

        deployments = Deployments(
            DeploymentParts(
                catalog=stores.catalog,
                clock=stores.clock,
                customers=customers,
                versions=versions,
                connections=platform.connections,
                settings=platform.instance_settings,
                lifecycle=lifecycle,
                local=platform.instances,
                beside=beside,
            )
        )
        api_keys = ApiKeys(stores.catalog, stores.clock)
        erasure = Erasure(
            ErasureParts(
                catalog=stores.catalog,
                queue=stores.queue,
                journal=stores.journal,
                records=stores.records,
                payloads=stores.payloads,
                state=stores.state,
                versions=versions,
                recorded=platform.metadata.catch_up,
                others=(api_keys.remove_all, platform.oauth.forget),
            )
        )
        removal = Removal(
            RemovalParts(
                clock=stores.clock,
                journal=stores.journal,
                records=stores.records,
                customers=customers,
                deployments=deployments,
                lifecycle=lifecycle,
                recorded=platform.metadata.catch_up,
                cancel=platform.operations.cancel,
                revoke_keys=api_keys.revoke_all,
                erasure=erasure,
            )
        )
        return cls(
            customers=customers,
            versions=versions,
            deployments=deployments,
            removal=removal,
            _tenancy=tenancy,
            _own=platform.instances,
        )

    async def check(self) -> None:
        """`SettingsError` if instances of several customers have code that the sandbox does not keep apart."""
        if self._tenancy.restricts:
            self._tenancy.check_instances([instance async for instance in _all(self.deployments, self._own)])


async def _all(deployments: Deployments, own: LocalInstances) -> AsyncIterator[Instance]:
    """Whatever their state: a paused one is resumed without asking."""
    for instance in own.all():
        yield instance
    async for deployment in deployments.all():
        try:
            yield await deployments.instance_of(deployment)
        except NotFound:  # its version is not here: nor does it run here
            continue
