"""Definitions: YAML and Python to the one model, and what can be known about them before they run.

    integration = load_integration(Path("integrations/orders"))
    problems = validate(integration, connectors)

Each name is loaded when it is first used, so that importing this package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from turnout.definition.codec import dump, parse
    from turnout.definition.files import find_integrations, load_integration
    from turnout.definition.schema import json_schema
    from turnout.definition.settings import resolve_config
    from turnout.definition.validation import validate

__all__ = ["dump", "find_integrations", "json_schema", "load_integration", "parse", "resolve_config", "validate"]

_MODULES = {
    "dump": "codec",
    "find_integrations": "files",
    "json_schema": "schema",
    "load_integration": "files",
    "parse": "codec",
    "resolve_config": "settings",
    "validate": "validation",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
