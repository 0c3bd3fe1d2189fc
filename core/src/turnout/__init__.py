"""Turnout: integrations that are written once and run where configuration says.

What is exported here is the public surface for people who write definitions and plugins; it is loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from turnout.definition.authoring import (
        action,
        branch,
        call,
        code,
        connection,
        expr,
        flow,
        limits,
        loop,
        on,
        on_delete,
        on_deploy,
        otherwise,
        parallel,
        retry,
        schedule,
        stop,
        variable,
        wait,
        webhook,
        when,
    )
    from turnout.hookspecs import hookimpl
    from turnout.model.definition import CodeSettings, Integration, PythonSettings

__all__ = [
    "CodeSettings",
    "Integration",
    "PythonSettings",
    "action",
    "branch",
    "call",
    "code",
    "connection",
    "expr",
    "flow",
    "hookimpl",
    "limits",
    "loop",
    "on",
    "on_delete",
    "on_deploy",
    "otherwise",
    "parallel",
    "retry",
    "schedule",
    "stop",
    "variable",
    "wait",
    "webhook",
    "when",
]

_HOMES = {
    **dict.fromkeys(__all__, "turnout.definition.authoring"),
    "CodeSettings": "turnout.model.definition",
    "Integration": "turnout.model.definition",
    "PythonSettings": "turnout.model.definition",
    "hookimpl": "turnout.hookspecs",
}
"""Where each public name lives. `turnout --help` and a plugin's module load no more than they name."""


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
