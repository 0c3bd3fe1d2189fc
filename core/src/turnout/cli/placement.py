"""What `turnout services` and `turnout check` look at: the services' places, and what is known of the project's flows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from turnout.cli.project import load_registry
from turnout.config import Settings
from turnout.definition import find_integrations, load_integration
from turnout.deploy.fit import Finding, fit
from turnout.deploy.flows import FlowUse, flow_use
from turnout.deploy.queue_fit import queue_findings
from turnout.errors import DefinitionError, NotFound, SettingsError, UserError
from turnout.interfaces.deployment import ServiceShape
from turnout.interfaces.queue import QueueCapability
from turnout.local.chosen import chosen_backends
from turnout.local.services import service_shapes
from turnout.local.stores import Stores
from turnout.model.definition import CodeStep, Integration, walk
from turnout.plugins import Kind, Registry

__all__ = ["Placement", "placement_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The services with what does not fit, and the flows that were looked at. `broken` are definitions that cannot be read,
    `unkept` what the chosen queue does not declare to keep."""

    services: tuple[ServiceShape, ...]
    findings: tuple[Finding, ...]
    flows: tuple[FlowUse, ...] = ()
    broken: tuple[str, ...] = ()
    unkept: tuple[str, ...] = ()


async def placement_of(settings: Settings, path: Path | None = None, *, recorded: bool = True) -> Placement:
    """Look at the project's definitions below `path`, and, where what is `recorded` counts, at its records: `SettingsError`,
    `BackendError` where a store cannot be opened."""
    registry = load_registry(settings)
    shapes = await service_shapes(settings, registry)
    integrations, broken = _definitions(path or settings.root)
    uses = await _uses(settings, registry, integrations) if recorded else []
    code = any(
        isinstance(step, CodeStep)
        for integration in integrations
        for flow in integration.flows.values()
        for step in walk(flow.steps)
    )
    findings = fit(
        settings,
        shapes,
        registry.targets,
        backends={chosen.setting: chosen.kind for chosen in chosen_backends(settings, registry)},
        sandbox=_sandbox(settings, registry),
        flows=uses,
        code=code,
    )
    queue = registry.find(Kind.QUEUES, settings.stores.queue)
    findings += queue_findings(settings, queue, integrations)
    return Placement(
        services=shapes,
        findings=tuple(findings),
        flows=tuple(uses),
        broken=tuple(broken),
        unkept=tuple(sorted(frozenset(QueueCapability) - queue.capabilities)),
    )


def _definitions(path: Path) -> tuple[list[Integration], list[str]]:
    found, broken = [], []
    try:
        files = find_integrations(path)
    except UserError:
        return [], []  # a project may have none yet
    for file in files:
        try:
            found.append(load_integration(file))
        except DefinitionError as error:
            broken.append(str(error))
    return found, broken


async def _uses(settings: Settings, registry: Registry, integrations: Sequence[Integration]) -> list[FlowUse]:
    stores = await Stores.open(settings, registry)
    try:
        return [
            await flow_use(integration, flow, stores.records)
            for integration in integrations
            for flow in integration.flows.values()
        ]
    finally:
        await stores.close()


def _sandbox(settings: Settings, registry: Registry) -> type:
    try:
        found: type = registry.find(Kind.SANDBOXES, settings.runner.sandbox)
    except NotFound as error:
        raise SettingsError(f"runner.sandbox: {error}", setting="runner.sandbox") from error
    return found
