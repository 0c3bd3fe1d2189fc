"""The connectors that a project declares: `[connectors.<name>]` of its settings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from turnout.errors import NotFound, PluginError, SettingsError
from turnout.plugins.contracts import Kind, check
from turnout.plugins.discovery import Plugin

if TYPE_CHECKING:
    from turnout.config import Settings
    from turnout.interfaces.connector import Connector

__all__ = ["DECLARED", "declared_connectors"]

DECLARED = "turnout.toml"
"""What a declared connector comes from, in the place of a plugin's name."""


def declared_connectors(
    settings: Settings, there: Collection[str], find: Callable[[Kind, str], Any]
) -> Mapping[str, tuple[Connector, Plugin]]:
    """Each with where it comes from. `there` are the names that plugins provide. `SettingsError` names the setting."""
    made = {}
    for name, table in settings.connectors.items():
        place = f"connectors.{name}"
        if name in there:
            raise SettingsError(f"{place}: a plugin provides a connector of this name: choose another", setting=place)
        try:
            connector = _declared(name, table, settings, find)
            check(Kind.CONNECTORS, name, connector)
        except PluginError as error:
            raise SettingsError(f"{place}: {error}", setting=place) from error
        made[name] = (connector, Plugin(name=DECLARED))
    return made


def _declared(name: str, table: Mapping[str, Any], settings: Settings, find: Callable[[Kind, str], Any]) -> Connector:
    from turnout.interfaces.opening import read_options

    place = f"connectors.{name}.source"
    source = table.get("source")
    if not isinstance(source, str):
        raise SettingsError(f'{place}: say of which kind its description is: "openapi"', setting=place)
    try:
        kind = find(Kind.CONNECTOR_SOURCES, source)
    except NotFound as error:
        raise SettingsError(f"{place}: {error}", setting=place) from error
    given = {key: value for key, value in table.items() if key != "source"}
    options = read_options(given, kind.Options, "connectors", name)
    made: Connector = kind.connector(name, options, settings.root)
    return made
