"""Flows that run because of what becomes of an instance: `on_deploy` and `on_delete`."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from turnout.interfaces.catalog import CatalogStore
from turnout.model.definition import Flow, Integration
from turnout.services.instance_documents import Deployed, deployed_of
from turnout.services.submission import Instance, Submission
from turnout.values import Value

__all__ = ["LifecycleFlows", "flow_of"]

_TRIGGERS: Final = {"delete": "on_delete"}


def flow_of(integration: Integration, trigger: str) -> Flow | None:
    """The integration's flow with that trigger."""
    return next((flow for flow in integration.flows.values() if flow.trigger.type == trigger), None)


class LifecycleFlows:
    """Starts them as executions of the instance, each once however often it is asked to."""

    def __init__(self, catalog: CatalogStore, submission: Submission) -> None:
        self._documents = deployed_of(catalog)
        self._submission = submission

    async def start(self, instance: Instance, deployed: Deployed) -> str:
        """Accept the execution that `deployed.lifecycle` asks for, and write its id there; the id, or nothing where the version
        has no such flow."""
        lifecycle = deployed.lifecycle
        if lifecycle is None or lifecycle.execution:
            return "" if lifecycle is None else lifecycle.execution
        flow = flow_of(instance.integration, _TRIGGERS.get(lifecycle.event, "on_deploy"))
        if flow is None:
            return ""
        body = {
            "event": lifecycle.event,
            "instance": instance.name,
            "version": instance.integration.version,
            "version_before": lifecycle.version_before or None,
        }
        trigger = Value({"body": body, "headers": {}, "query": {}})
        same = f"lifecycle/{instance.name}/{lifecycle.id}"
        accepted = await self._submission.accept(instance, flow.name, trigger, deduplication_id=same)

        def started(found: Deployed | None) -> Deployed | None:
            if found is None or found.lifecycle is None or found.lifecycle.id != lifecycle.id:
                return found
            return replace(found, lifecycle=replace(found.lifecycle, execution=accepted.id))

        await self._documents.update(instance.name, started, tenant=instance.tenant)
        return accepted.id
