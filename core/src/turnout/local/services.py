"""Which services a platform on one machine has, made of its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnout.interfaces.service import Service
from turnout.services.executions import Executions

if TYPE_CHECKING:
    from turnout.local.platform import Platform

__all__ = ["services_of"]


def services_of(platform: Platform) -> tuple[Service, ...]:
    """All of them, in the order of their start."""
    stores = platform.stores
    return (
        platform.metadata,
        platform.retention,
        platform.recovery,
        platform.runner,
        platform.ingress,
        Executions(stores.records, stores.payloads, platform.operations, platform.metadata),
    )
