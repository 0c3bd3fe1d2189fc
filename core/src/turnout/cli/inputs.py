"""What a person gives a run: config values, connections, a payload, from files and from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from turnout.errors import SettingsError
from turnout.values import Value

__all__ = ["RunInputs", "input_options", "read_inputs", "read_payload"]

F = TypeVar("F", bound=Callable[..., Any])
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInputs:
    """Config values, and connections' fields by connection, as they were written."""

    config: Mapping[str, Any]
    connections: Mapping[str, Mapping[str, Any]]


def input_options(function: F) -> F:
    """`--config`, `--set`, `--connections`: the command gets `config_file`, `assignments`, `connections_file`."""
    for option in (
        click.option(
            "--connections",
            "connections_file",
            type=_FILE,
            metavar="FILE",
            help="YAML: the fields of each connection by its name; secrets as env:NAME or secret:NAME.",
        ),
        click.option(
            "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="A config value; may be given many times."
        ),
        click.option("--config", "config_file", type=_FILE, metavar="FILE", help="YAML: config values by name."),
    ):
        function = option(function)
    return function


def read_inputs(config_file: Path | None, assignments: Sequence[str], connections_file: Path | None) -> RunInputs:
    """`SettingsError` names the file, or the assignment, and what is wrong; never a value."""
    config = dict(_mapping(config_file)) if config_file else {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key.strip():
            raise SettingsError(f"--set {key!r}: KEY=VALUE is needed", setting=key)
        config[key.strip()] = value
    connections = _mapping(connections_file) if connections_file else {}
    for name, fields in connections.items():
        if not isinstance(fields, Mapping):
            raise SettingsError(
                f"{connections_file}: connection {name!r} must have its fields below it, such as `token: env:TOKEN`",
                setting=name,
            )
    return RunInputs(config=config, connections=connections)


def read_payload(path: Path | None) -> Value:
    """The file as JSON, or as text where it is none: what `trigger.body` is. Null without a file."""
    if path is None:
        return Value(None)
    data = path.read_bytes()
    if path.suffix.lower() == ".json":
        return Value.parse(data)
    try:
        return Value(json.loads(data))
    except ValueError:
        return Value(data.decode(errors="replace"))


def _mapping(path: Path) -> Mapping[str, Any]:
    from turnout.definition.nodes import plain
    from turnout.definition.yaml_source import read_file

    data = plain(read_file(path))
    if data is None:
        return {}
    if not isinstance(data, Mapping):
        raise SettingsError(f"{path}: names with their values are needed, not a list or text", setting=str(path))
    return data
