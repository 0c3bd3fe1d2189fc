"""Config values against the config variables that an integration declares."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from turnout.definition.nearest import hint_for
from turnout.errors import SettingsError
from turnout.model.definition import ConfigType, ConfigVariable, Integration

__all__ = ["coerce", "is_of", "resolve_config", "resolved_or_wrong"]

_TRUE: Final = frozenset({"true", "yes", "on", "1"})
_FALSE: Final = frozenset({"false", "no", "off", "0"})
_ARTICLE: Final = {
    ConfigType.STRING: "text",
    ConfigType.NUMBER: "a number",
    ConfigType.INTEGER: "a whole number",
    ConfigType.BOOLEAN: "true or false",
    ConfigType.OBJECT: "an object",
    ConfigType.ARRAY: "a list",
}


def resolve_config(integration: Integration, values: Mapping[str, Any]) -> dict[str, Any]:
    """The value of every config variable: what is given, else its default, else null where it is not required.

    Text given for a variable of another type is read as that type, as `--set KEY=VALUE` needs it: numbers, `true` and
    `false`, JSON for objects and arrays. `SettingsError` names everything that is missing, wrong or unknown; its
    `setting` is the first of them. No message holds a value.
    """
    resolved, wrong = resolved_or_wrong(integration, values)
    if wrong:
        raise SettingsError("; ".join(wrong.values()), setting=next(iter(wrong)))
    return resolved


def resolved_or_wrong(integration: Integration, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """As `resolve_config`: the values that hold, and by name what is wrong with the others."""
    wrong: dict[str, str] = {}
    for name in values:
        if name not in integration.config:
            hint = hint_for(name, integration.config)
            wrong[name] = f"{name!r} is not a config variable of {integration.name!r}" + (f" ({hint})" if hint else "")
    resolved = {}
    for name, variable in integration.config.items():
        try:
            resolved[name] = _resolve(variable, values)
        except ValueError as error:
            wrong[name] = str(error)
    return resolved, wrong


def _resolve(variable: ConfigVariable, values: Mapping[str, Any]) -> Any:
    value = values.get(variable.name)
    if value is None:
        if variable.default is None and variable.required:
            about = f" ({variable.description})" if variable.description else ""
            raise ValueError(f"config variable {variable.name!r} is not set{about}")
        return variable.default
    return coerce(variable, value)


def coerce(variable: ConfigVariable, value: Any) -> Any:
    """The value as the variable's type. `ValueError` if it is not one, or none of its choices."""
    found = _typed(variable.type, value)
    if found is None:
        quote = ": put it in quotes" if variable.type is ConfigType.STRING and isinstance(value, int | float) else ""
        raise ValueError(f"config variable {variable.name!r} must be {_ARTICLE[variable.type]}{quote}")
    if variable.choices and not any(_same(found, choice) for choice in variable.choices):
        listed = ", ".join(json.dumps(choice, ensure_ascii=False) for choice in variable.choices)
        raise ValueError(f"config variable {variable.name!r} must be one of {listed}")
    return found


def _same(value: Any, choice: Any) -> bool:
    return bool(value == choice) and isinstance(value, bool) == isinstance(choice, bool)


def is_of(kind: ConfigType, value: Any) -> bool:
    """Whether a value is of the type as it stands."""
    return isinstance(value, str) == (kind is ConfigType.STRING) and _typed(kind, value) is not None


def _typed(kind: ConfigType, value: Any) -> Any:
    """The value, or None if it is not of that type."""
    if isinstance(value, str) and kind is not ConfigType.STRING:
        value = _from_text(kind, value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match kind:
        case ConfigType.STRING:
            fits = isinstance(value, str)
        case ConfigType.NUMBER:
            fits = number and (isinstance(value, int) or math.isfinite(value))
        case ConfigType.INTEGER:
            if number and isinstance(value, float) and value.is_integer():
                value = int(value)
            fits = number and isinstance(value, int)
        case ConfigType.BOOLEAN:
            fits = isinstance(value, bool)
        case ConfigType.OBJECT:
            fits = isinstance(value, Mapping)
        case ConfigType.ARRAY:
            fits = isinstance(value, list | tuple)
    return value if fits else None


def _from_text(kind: ConfigType, text: str) -> Any:
    word = text.strip()
    if kind is ConfigType.BOOLEAN:
        return True if word.casefold() in _TRUE else False if word.casefold() in _FALSE else None
    try:
        return json.loads(word, parse_constant=lambda name: None)
    except (ValueError, RecursionError):
        return None
