"""One action, done by a flow that is made for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from turnout.cli.definitions import valid
from turnout.cli.inputs import RunInputs
from turnout.cli.running import run_flow
from turnout.cli.session import run_async
from turnout.config import Settings
from turnout.definition.loader import load_yaml_text
from turnout.errors import UserError
from turnout.interfaces.connector import Connector
from turnout.local.platform import Platform
from turnout.model.definition import Integration

__all__ = ["call_action"]

_STEP: Final = "call"


def call_action(
    settings: Settings,
    connector: Connector,
    action: str,
    inputs: Mapping[str, Any],
    connection: Mapping[str, Any] | None,
    connection_type: str | None,
    *,
    as_json: bool,
) -> int:
    """Run it and print its record. The exit status. `UserError` says where a connection's type must be given."""
    step: dict[str, Any] = {"id": _STEP, "action": f"{connector.name}.{action}", "with": dict(inputs)}
    definition: dict[str, Any] = {"integration": f"call-{connector.name.replace('_', '-')}", "version": "0.0.0"}
    fields: dict[str, Mapping[str, Any]] = {}
    if connection is not None:
        kind = connection_type or _only_type(connector)
        definition["connections"] = {connector.name: {"connector": connector.name, "type": kind}}
        step["connection"] = connector.name
        fields[connector.name] = connection
    result = {"id": "result", "stop": {"output": f"${{{{ steps.{_STEP} }}}}"}}
    definition["flows"] = {_STEP: {"steps": [step, result]}}
    text = json.dumps(definition, default=str)

    def load(platform: Platform) -> Integration:
        return valid(load_yaml_text(text, name=f"{connector.name}.{action}"), platform)

    return run_async(run_flow(settings, load, None, None, RunInputs(config={}, connections=fields), as_json=as_json))


def _only_type(connector: Connector) -> str:
    if len(connector.connections) == 1:
        return next(iter(connector.connections))
    names = ", ".join(connector.connections) or "none"
    raise UserError(f"{connector.name}: say which type of connection by --type: there are {names}")
