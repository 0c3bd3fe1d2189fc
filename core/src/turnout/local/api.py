"""The HTTP API of a platform on one machine, made of its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from turnout.config import Authentication
from turnout.services.api.access import Access, Failures
from turnout.services.api.parts import Parts
from turnout.services.api.service import Api
from turnout.services.api_keys import ApiKeys

if TYPE_CHECKING:
    from turnout.local.platform import Platform

__all__ = ["api_of"]


def api_of(platform: Platform) -> Api:
    """Without `[api] authentication = "none"`, also by `turnout dev`, it asks for keys."""
    stores, settings = platform.stores, platform.settings
    keys, failures = ApiKeys(stores.catalog, stores.clock), Failures(stores.catalog, stores.clock)
    parts = Parts(
        clock=stores.clock,
        records=stores.records,
        payloads=stores.payloads,
        queue=stores.queue,
        metadata=platform.metadata,
        executions=platform.operations,
        dead_letters=platform.dead_letters,
        keys=keys,
        connectors=platform.backends.connectors,
        customers=platform.tenants.customers,
        connections=platform.connections,
        versions=platform.tenants.versions,
        deployments=platform.tenants.deployments,
        removal=platform.tenants.removal,
        oauth=platform.oauth,
    )
    own = urlsplit(settings.project.url).hostname
    access = Access(
        keys,
        failures,
        open=settings.api.authentication is Authentication.NONE,
        hosts=frozenset(host.lower() for host in (*settings.api.hosts, *([own] if own else []))),
    )
    return Api(parts, access, failures)
