"""Definitions as commands take them: loaded, checked, and deployed as instances of their own name."""

from __future__ import annotations

from pathlib import Path

import click

from turnout.cli.faults import printable
from turnout.cli.inputs import RunInputs
from turnout.definition import load_integration, validate
from turnout.errors import DefinitionError, UserError
from turnout.local.platform import Platform
from turnout.model.definition import Flow, Integration
from turnout.services.submission import Instance

__all__ = ["checked", "chosen_flow", "deploy", "valid"]


def checked(file: Path, platform: Platform) -> Integration:
    """The integration of a file, as `valid` has it."""
    return valid(load_integration(file), platform)


def valid(integration: Integration, platform: Platform) -> Integration:
    """The integration, if it can run. `DefinitionError` has every error in it; warnings go to stderr."""
    problems = validate(integration, platform.backends.connectors)
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        raise DefinitionError(errors)
    for problem in problems:
        click.echo(printable(f"warning: {problem}"), err=True)
    return integration


def chosen_flow(integration: Integration, name: str | None) -> Flow:
    """The flow of that name; without one the only flow, or the only one that is not there to be called by others.
    `UserError` names what there is."""
    flows = integration.flows
    entries = [flow for flow in flows.values() if flow.trigger.type != "call"]
    if name is None and (len(flows) == 1 or len(entries) == 1):
        return (entries or [*flows.values()])[0]
    if name is None:
        raise UserError(f"{integration.name!r} has several flows, say which with --flow: {', '.join(flows)}")
    if name not in flows:
        raise UserError(f"{integration.name!r} has no flow {name!r}: it has {', '.join(flows)}")
    return flows[name]


async def deploy(platform: Platform, integration: Integration, inputs: RunInputs, *, shared: bool = False) -> Instance:
    """Make the integration an instance of its own name. With `shared` the inputs are for several integrations: each
    takes what it declares."""
    config, connections = inputs.config, inputs.connections
    if shared:
        config = {name: value for name, value in config.items() if name in integration.config}
        connections = {name: value for name, value in connections.items() if name in integration.connections}
    return await platform.deploy(integration, config=config, connections=connections)
