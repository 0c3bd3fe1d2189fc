"""Config variables by themselves: defaults and choices of the right type."""

from __future__ import annotations

from collections.abc import Iterator

from turnout.definition.places import Places
from turnout.definition.settings import is_of
from turnout.errors import Problem
from turnout.model.definition import Integration

__all__ = ["config_faults"]


def config_faults(integration: Integration, places: Places) -> Iterator[Problem]:
    """The problems of the `config` block."""
    for name, variable in integration.config.items():
        default = variable.default
        for number, choice in enumerate(variable.choices):
            if not is_of(variable.type, choice):
                message = f"config variable {name!r}: the choice {choice!r} is not of type {variable.type}"
                yield places.problem(message, ways=(("config", name, "choices", number), ("config", name)))
        if default is None:
            continue
        ways = (("config", name, "default"), ("config", name))
        if not is_of(variable.type, default):
            message = f"config variable {name!r}: the default {default!r} is not of type {variable.type}"
            yield places.problem(message, ways=ways, hint=_type_hint(default))
        elif variable.choices and default not in variable.choices:
            yield places.problem(
                f"config variable {name!r}: the default {default!r} is not among its choices", ways=ways
            )


def _type_hint(default: object) -> str:
    match default:
        case str():
            return "text in quotes is text: leave the quotes out for a number"
        case bool() | int() | float():
            return "put it in quotes if it is meant as text"
        case _:
            return ""
