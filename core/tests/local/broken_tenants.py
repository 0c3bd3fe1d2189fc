"""Queues that each break a promise about tenants, and the tests of the contract that must notice it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from turnout.errors import Overloaded
from turnout.interfaces.queue import Lease, Message, QueueStats
from turnout.local.memory_lines import Entry
from turnout.local.memory_queue import MemoryQueue
from turnout.model.tenancy import Policies, TenantPolicy

__all__ = ["CAUGHT"]


class WithPolicies(MemoryQueue):
    """Has other policies than it was given; otherwise whole."""

    def __init__(self, *, policies: Policies, **settings: Any) -> None:
        tenants = {tenant: self.changed(policy) for tenant, policy in policies.tenants.items()}
        super().__init__(policies=Policies(default=self.changed(policies.default), tenants=tenants), **settings)

    def changed(self, policy: TenantPolicy) -> TenantPolicy:
        return policy


class Unbounded(WithPolicies):
    def changed(self, policy: TenantPolicy) -> TenantPolicy:
        return replace(policy, capacity=None)


class AddsBeforeItRefuses(MemoryQueue):
    async def put(self, message: Message, *, delay_s: float = 0.0, capped: bool = False) -> bool:
        full = capped and await self.room(message.tenant) == 0
        added = await super().put(message, delay_s=delay_s)
        if full:
            raise Overloaded("too many")
        return added


class CapsEveryPut(MemoryQueue):
    async def put(self, message: Message, *, delay_s: float = 0.0, capped: bool = False) -> bool:
        return await super().put(message, delay_s=delay_s, capped=True)


class HasOnePolicy(WithPolicies):
    def __init__(self, *, policies: Policies, **settings: Any) -> None:
        super().__init__(policies=Policies(default=policies.default), **settings)


class CountsTheReadyOnly(MemoryQueue):
    async def room(self, tenant: str) -> int | None:
        capacity = self._policies.of(tenant).capacity
        return None if capacity is None else capacity - (await self.stats()).tenants.get(tenant, 0)


class CountsAll(MemoryQueue):
    async def room(self, tenant: str) -> int | None:
        capacity = self._policies.of(tenant).capacity
        return None if capacity is None else capacity - len(self._entries)


class HasNoRoom(MemoryQueue):
    async def room(self, tenant: str) -> int | None:
        return await super().room(tenant) or 0


class CountsDelayedTenants(MemoryQueue):
    async def stats(self) -> QueueStats:
        stats = await super().stats()
        return replace(stats, tenants={entry.message.tenant: 3 for entry in self._entries.values()})


class IgnoresWeights(WithPolicies):
    def changed(self, policy: TenantPolicy) -> TenantPolicy:
        return replace(policy, weight=1)


class SavesWeights(MemoryQueue):
    saved = 0

    def _stand_in_ring(self, tenant: str) -> None:
        line, absent = self._lines[tenant], tenant not in self._ring
        left = line.left_in_turn
        super()._stand_in_ring(tenant)
        if absent:
            line.left_in_turn += left


class IgnoresInFlight(WithPolicies):
    def changed(self, policy: TenantPolicy) -> TenantPolicy:
        return replace(policy, in_flight=None)


class StopsAtATenantAtItsCap(MemoryQueue):
    def _next(self) -> Entry | None:
        return None if any(line.full for line in self._lines.values()) else super()._next()


class ForgetsTheTenantAtItsCap(MemoryQueue):
    def _stand_in_ring(self, tenant: str) -> None:
        if not any(entry.state == "ready" for entry in self._entries.values()):
            super()._stand_in_ring(tenant)


class KeepsPlacesInFlight(MemoryQueue):
    def _end_leases(self, entries: Sequence[Entry]) -> Sequence[Lease]:
        ended = super()._end_leases(entries)
        for entry in entries:
            self._lines[entry.message.tenant].leased += 1
        return ended


CAUGHT: dict[type[MemoryQueue], list[str]] = {
    Unbounded: [
        "a_capped_put_is_refused_when_as_many_wait_as_the_tenant_may_have",
        "a_put_that_is_not_capped_is_accepted_whatever_waits",
    ],
    AddsBeforeItRefuses: ["a_capped_put_is_refused_when_as_many_wait_as_the_tenant_may_have"],
    CapsEveryPut: ["a_put_that_is_not_capped_is_accepted_whatever_waits"],
    HasOnePolicy: ["each_tenant_has_the_capacity_of_its_own_policy"],
    CountsTheReadyOnly: ["what_is_delayed_waits_as_well"],
    CountsAll: ["what_is_leased_or_dead_does_not_wait"],
    HasNoRoom: ["a_tenant_without_a_capacity_has_room_for_any_number"],
    CountsDelayedTenants: ["stats_know_how_many_of_each_tenant_are_due"],
    IgnoresWeights: ["tenants_take_turns_by_their_weights"],
    SavesWeights: ["a_weight_that_is_not_used_up_is_not_saved"],
    IgnoresInFlight: [
        "a_tenant_at_its_cap_is_passed_over",
        "a_reaped_lease_frees_its_place_in_flight_and_a_claimed_one_takes_one",
    ],
    StopsAtATenantAtItsCap: ["a_tenant_at_its_cap_is_passed_over"],
    ForgetsTheTenantAtItsCap: ["a_waiting_taker_gets_the_next_once_a_lease_of_a_tenant_at_its_cap_ends"],
    KeepsPlacesInFlight: ["a_reaped_lease_frees_its_place_in_flight_and_a_claimed_one_takes_one"],
}
