"""How tenants share a queue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Policies", "TenantPolicy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantPolicy:
    """How a queue treats a tenant: how many messages it may have handed out in a turn (`weight`), at most how many may be
    leased at once (`in_flight`), at most how many may wait (`capacity`); None: no bound."""

    weight: int = 1
    in_flight: int | None = None
    capacity: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """The policy of each tenant: its own, or the default."""

    default: TenantPolicy = TenantPolicy()
    tenants: Mapping[str, TenantPolicy] = field(default_factory=dict)

    def of(self, tenant: str) -> TenantPolicy:
        return self.tenants.get(tenant, self.default)
