"""Whether the queue that the settings choose keeps what the project asks of it: what it does not declare is refused, for it would
be silently ignored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from turnout.config import Settings
from turnout.deploy.fit import Finding
from turnout.errors import SettingsError
from turnout.interfaces.queue import Queue, QueueCapability
from turnout.model.definition import Flow, Integration
from turnout.model.limits import FlowLimits
from turnout.model.tenancy import TenantPolicy

__all__ = ["flow_fault", "queue_findings", "require_turns"]


def require_turns(settings: Settings, queue: type[Queue]) -> None:
    """`SettingsError` if customers are to share a queue in a way that it does not keep to."""
    if QueueCapability.FAIRNESS in queue.capabilities:
        return
    policies = settings.queue.policies
    for place, policy in (
        ("queue", policies.default),
        *((f"queue.tenants.{n}", p) for n, p in policies.tenants.items()),
    ):
        for name in ("weight", "in_flight"):
            if getattr(policy, name) != getattr(TenantPolicy(), name):
                setting = f"{place}.{name}"
                message = (
                    f"{setting}: the queue {settings.stores.queue!r} hands out customers' executions in no turn of its own, and "
                    f"bounds none: choose another (`stores.queue`), or remove the setting"
                )
                raise SettingsError(message, setting=setting)


def flow_fault(flow: Flow, queue: Queue | type[Queue]) -> str:
    """Which of a flow's limits the queue does not keep; empty if it keeps all."""
    if replace(flow.limits, deduplicate=None, priority=0) != FlowLimits() and (
        QueueCapability.LIMITS not in queue.capabilities
    ):
        return "`limits`"
    if flow.limits.priority != 0 and QueueCapability.PRIORITY not in queue.capabilities:
        return "a `priority`"
    return ""


def queue_findings(settings: Settings, queue: type[Queue], integrations: Iterable[Integration]) -> Iterator[Finding]:
    """The flows that ask of the queue what it does not do."""
    name = settings.stores.queue
    for integration in integrations:
        for flow in integration.flows.values():
            if fault := flow_fault(flow, queue):
                yield Finding(
                    severity="error",
                    service="runner",
                    flow=f"{integration.name}/{flow.name}",
                    message=f"it has {fault}, which the queue {name!r} does not keep: choose another queue, or remove them",
                    setting="stores.queue",
                )
