"""What a person gives a run: config values, connections, a payload, from files and from the command line."""

from __future__ import annotations

import mimetypes
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from turnout.engine.content import Content
from turnout.errors import SettingsError, StepError, UserError
from turnout.local.platform import LOCAL_TENANT, Platform
from turnout.values import Value

__all__ = [
    "EXISTING_FILE",
    "RunInputs",
    "input_options",
    "read_assignments",
    "read_inputs",
    "read_mapping",
    "read_payload",
]

F = TypeVar("F", bound=Callable[..., Any])
_TEXT_BYTES: Final = 1024 * 1024
_PIECE_BYTES: Final = 256 * 1024
EXISTING_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


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
            type=EXISTING_FILE,
            metavar="FILE",
            help="YAML: the fields of each connection by its name; secrets as env:NAME or secret:NAME.",
        ),
        click.option(
            "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="A config value; may be given many times."
        ),
        click.option(
            "--config", "config_file", type=EXISTING_FILE, metavar="FILE", help="YAML: config values by name."
        ),
    ):
        function = option(function)
    return function


def read_inputs(config_file: Path | None, assignments: Sequence[str], connections_file: Path | None) -> RunInputs:
    """`SettingsError` names the file, or the assignment, and what is wrong; never a value."""
    config = dict(read_mapping(config_file)) if config_file else {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key.strip():
            raise SettingsError(f"--set {key!r}: KEY=VALUE is needed", setting=key)
        config[key.strip()] = value
    connections = read_mapping(connections_file) if connections_file else {}
    for name, fields in connections.items():
        if not isinstance(fields, Mapping):
            raise SettingsError(
                f"{connections_file}: connection {name!r} must have its fields below it, such as `token: env:TOKEN`",
                setting=name,
            )
    return RunInputs(config=config, connections=connections)


async def read_payload(path: Path | None, platform: Platform) -> Value:
    """What `trigger.body` is: the file as JSON, or as text where it is none, or as a file where it is no text or large,
    streamed into the payload store. Null without a path. `UserError` if a `.json` file is not JSON.
    """
    if path is None:
        return Value(None)
    must_be_json = path.suffix.lower() == ".json"
    if not must_be_json and path.stat().st_size > _TEXT_BYTES:
        return await _as_file(path, platform)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if must_be_json:
            raise UserError(f"{path} is not UTF-8, and so not JSON (byte {error.start})") from error
        return await _as_file(path, platform)
    try:
        value = Value.parse(text)
        value.load()
    except StepError as error:
        if must_be_json:
            raise UserError(f"{path}: {error.message}") from error
        return Value(text)
    return value


async def _as_file(path: Path, platform: Platform) -> Value:
    async def pieces() -> AsyncIterator[bytes]:
        with path.open("rb") as stream:
            while piece := stream.read(_PIECE_BYTES):
                yield piece

    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    content = Content(platform.stores.payloads, LOCAL_TENANT)
    return Value(await content.create(pieces(), name=path.name, content_type=kind))


def read_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """`KEY=VALUE`, each value as YAML has it: a number, a list, text. `SettingsError` names the key."""
    from turnout.definition.nodes import plain
    from turnout.definition.yaml_source import read_text

    found = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key.strip():
            raise SettingsError(f"--set {key!r}: KEY=VALUE is needed", setting=key)
        found[key.strip()] = plain(read_text(value, name=f"--set {key}")) if value else ""
    return found


def read_mapping(path: Path) -> Mapping[str, Any]:
    """Names with values, of a YAML file. `SettingsError` names it."""
    from turnout.definition.nodes import plain
    from turnout.definition.yaml_source import read_file

    data = plain(read_file(path))
    if data is None:
        return {}
    if not isinstance(data, Mapping):
        raise SettingsError(f"{path}: names with their values are needed, not a list or text", setting=str(path))
    return data
