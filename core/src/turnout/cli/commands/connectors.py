"""`turnout connectors`."""

from __future__ import annotations

import difflib
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from turnout.cli.calling import call_action
from turnout.cli.declaring import CONNECTOR_NAME, name_of_description, write_declaration
from turnout.cli.faults import printable
from turnout.cli.inputs import EXISTING_FILE, read_assignments, read_mapping
from turnout.cli.options import environment_option, json_option
from turnout.cli.output import emit, print_table
from turnout.cli.project import load_project, load_registry
from turnout.cli.schemas import input_schema, output_schema
from turnout.errors import NotFound, UserError
from turnout.interfaces.connector import Action, Connector, Trigger
from turnout.interfaces.connector_source import ConnectorSource
from turnout.interfaces.polling import PollingTrigger
from turnout.plugins import Kind

__all__ = ["command"]

_BRIEF: Final = 12


@click.group("connectors")
def command() -> None:
    """List, search and show connectors, call an action, add one that is made from a description."""


@command.command("list")
@json_option
@environment_option
def list_connectors(*, as_json: bool, environment: str | None) -> None:
    """List the installed connectors."""
    registry = load_registry(load_project(environment=environment))
    sources = registry.provided(Kind.CONNECTORS)
    found: list[dict[str, Any]] = [
        {
            "name": name,
            "title": connector.title or name,
            "actions": sorted(connector.actions),
            "triggers": sorted(_triggers(connector)),
            "connections": sorted(connector.connections),
            "distribution": sources[name].distribution,
        }
        for name, connector in sorted(registry.connectors.items())
    ]
    if as_json:
        emit(found, as_json=True)
        return
    print_table(
        ("CONNECTOR", "DISTRIBUTION", "ACTIONS"),
        [(item["name"], item["distribution"] or "-", _brief(item["actions"])) for item in found],
    )


def _brief(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_BRIEF])
    return shown if len(names) <= _BRIEF else f"{shown}, and {len(names) - _BRIEF} more"


@command.command("search")
@click.argument("words", nargs=-1, required=True, metavar="WORD...")
@json_option
@environment_option
def search(*, words: tuple[str, ...], as_json: bool, environment: str | None) -> None:
    """Find actions and triggers by words in their names, titles and descriptions, all of which must be there."""
    registry = load_registry(load_project(environment=environment))
    found = [
        {"name": f"{name}.{part}", "title": title}
        for name, connector in sorted(registry.connectors.items())
        for part, title, text in _texts(connector)
        if all(word.lower() in text for word in words)
    ]
    if as_json:
        emit(found, as_json=True)
    elif not found:
        raise NotFound("action or trigger", " ".join(words), hint="`turnout connectors list` has all connectors")
    else:
        print_table(("NAME", "WHAT IT DOES"), [(one["name"], one["title"]) for one in found])


def _texts(connector: Connector) -> Iterator[tuple[str, str, str]]:
    """Name, title, and all that is searched, in lower case."""
    around = f"{connector.name} {connector.title}"
    for name, one in {**connector.actions, **_triggers(connector)}.items():
        yield name, one.title, f"{around} {name} {one.title} {one.description}".lower()


@command.command("show")
@click.argument("name", metavar="NAME[.ACTION]")
@json_option
@environment_option
def show(*, name: str, as_json: bool, environment: str | None) -> None:
    """Show a connector, or one action or trigger of it: inputs, output, effect."""
    registry = load_registry(load_project(environment=environment))
    connector_name, _, part = name.partition(".")
    connector: Connector = registry.find(Kind.CONNECTORS, connector_name)
    data = _connector(connector) if not part else _part(connector, part)
    if as_json:
        emit(data, as_json=True)
    else:
        click.echo(printable("\n".join(_lines(data))))


@command.command("add")
@click.argument("source", metavar="SOURCE")
@click.argument("description", metavar="DESCRIPTION")
@click.option("--name", metavar="NAME", help="What definitions call it; made of the description's name without it.")
@json_option
@environment_option
def add(*, source: str, description: str, name: str | None, as_json: bool, environment: str | None) -> None:
    """Add a connector that is made from a description: SOURCE says of which kind (openapi), DESCRIPTION where it is.

    The description is copied into the project, and turnout.toml names it.
    """
    settings = load_project(environment=environment)
    registry = load_registry(settings)
    kind: type[ConnectorSource] = registry.find(Kind.CONNECTOR_SOURCES, source)
    name = name or name_of_description(description)
    if not CONNECTOR_NAME.fullmatch(name):
        raise UserError(f"{name!r} is no connector's name: lower-case letters, digits and underscores, a letter first")
    if name in registry.connectors:
        raise UserError(f"there is a connector {name!r} already: choose another by --name")
    declared = kind.declare(name, description, settings.root)
    write_declaration(settings.file or settings.root / "turnout.toml", name, {"source": source, **declared})
    made = load_registry(load_project(environment=environment)).connectors[name]
    if as_json:
        emit({"name": name, "actions": sorted(made.actions)}, as_json=True)
        return
    click.echo(printable(f"{name}: {len(made.actions)} actions, `turnout connectors show {name}` lists them"))


@command.command("call")
@click.argument("name", metavar="NAME.ACTION")
@click.option("--with", "inputs_file", type=EXISTING_FILE, metavar="FILE", help="YAML: the action's inputs by name.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="An input; may be given many times.")
@click.option(
    "--connection",
    "connection_file",
    type=EXISTING_FILE,
    metavar="FILE",
    help="YAML: the connection's fields; secrets as env:NAME or secret:NAME.",
)
@click.option("--type", "connection_type", metavar="TYPE", help="The connection's type, where there are several.")
@json_option
@environment_option
def call(
    *,
    name: str,
    inputs_file: Path | None,
    assignments: Sequence[str],
    connection_file: Path | None,
    connection_type: str | None,
    as_json: bool,
    environment: str | None,
) -> int:
    """Do one action for real, as a step of a flow would, and print its record with what it gave."""
    settings = load_project(environment=environment)
    connector_name, _, part = name.partition(".")
    connector: Connector = load_registry(settings).find(Kind.CONNECTORS, connector_name)
    if part not in connector.actions:
        _part(connector, part)
        raise UserError(f"{name} is a trigger: only actions are called")
    connection = None if connection_file is None else read_mapping(connection_file)
    inputs = {**({} if inputs_file is None else read_mapping(inputs_file)), **read_assignments(assignments)}
    return call_action(settings, connector, part, inputs, connection, connection_type, as_json=as_json)


def _connector(connector: Connector) -> dict[str, Any]:
    return {
        "name": connector.name,
        "title": connector.title or connector.name,
        "description": connector.description,
        "docs": connector.docs,
        "connection_required": connector.connection_required,
        "connections": {
            name: {"description": inspect.cleandoc(fields.__doc__ or ""), "fields": input_schema(fields)}
            for name, fields in connector.connections.items()
        },
        "actions": {name: action.title for name, action in connector.actions.items()},
        "triggers": {name: trigger.title for name, trigger in _triggers(connector).items()},
    }


def _part(connector: Connector, name: str) -> dict[str, Any]:
    if name in connector.actions:
        return _action(connector, connector.actions[name])
    triggers = _triggers(connector)
    if name in triggers:
        return _trigger(connector, triggers[name])
    names = [*connector.actions, *triggers]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(sorted(names)) or 'none'}"
    raise NotFound(f"action or trigger of {connector.name}", name, hint=hint)


def _triggers(connector: Connector) -> Mapping[str, Trigger | PollingTrigger]:
    return {**connector.triggers, **connector.polls}


def _action(connector: Connector, action: Action) -> dict[str, Any]:
    return {
        "name": f"{connector.name}.{action.name}",
        "title": action.title,
        "description": action.description,
        "effect": action.worst.effect.value,
        "after_crash": action.worst.after_crash.value,
        "timeout_s": action.timeout_s,
        "inputs": input_schema(action.inputs),
        "output": output_schema(action.output),
    }


def _trigger(connector: Connector, trigger: Trigger | PollingTrigger) -> dict[str, Any]:
    return {
        "name": f"{connector.name}.{trigger.name}",
        "title": trigger.title,
        "description": trigger.description,
        "polled": isinstance(trigger, PollingTrigger),
        "verified": _verified(trigger),
        "inputs": input_schema(trigger.inputs),
    }


def _verified(trigger: Trigger | PollingTrigger) -> dict[str, Any] | None:
    """How its senders prove who they are, where Turnout checks that for it."""
    scheme = None if isinstance(trigger, PollingTrigger) else trigger.scheme
    return None if scheme is None else {"by": scheme.title, "fields": scheme.fields}


def _lines(data: dict[str, Any]) -> list[str]:
    """The same for people: properties of schemas one a line."""
    lines = [f"{data['name']}: {data['title']}"]
    lines += ["", data["description"]] if data.get("description") else []
    if data.get("docs"):
        lines += ["", f"docs: {data['docs']}"]
    if "effect" in data:
        lines += ["", f"effect: {data['effect']} (after a crash: {data['after_crash']})"]
    if verified := data.get("verified"):
        lines += ["", f"verified as {verified['by']} does, by the connection's {', '.join(verified['fields'])}"]
    for name, connection in data.get("connections", {}).items():
        lines += ["", f"connection {name}", *_properties(connection["fields"])]
    if "inputs" in data:
        lines += ["", "inputs", *_properties(data["inputs"])]
    if "output" in data:
        lines += ["", "output", *_properties(data["output"], given=False)]
    for kind in ("actions", "triggers"):
        if data.get(kind):
            lines += ["", kind, *(f"  {name:<20} {title}" for name, title in data[kind].items())]
    return lines


def _properties(schema: dict[str, Any], *, given: bool = True) -> list[str]:
    """A schema's properties, one a line, those of objects inside below them with their way (`paginate.by`); a schema
    without any is one line of its type. Of what is `given` it is told whether it must be."""
    definitions = schema.get("$defs", {})
    found = list(_rows(schema, definitions, ""))
    if not found:
        return [f"  {_type(_resolved(schema, definitions), definitions)}"]
    return [
        "  " + f"{name:<20} {_type(inner, definitions):<16} {_remark(inner, required=given and required)}".rstrip()
        for name, inner, required in found
    ]


def _rows(schema: dict[str, Any], definitions: dict[str, Any], way: str) -> Iterator[tuple[str, dict[str, Any], bool]]:
    schema = _resolved(schema, definitions)
    for name, inner in schema.get("properties", {}).items():
        yield f"{way}{name}", inner, name in schema.get("required", [])
        if not way:
            for option in inner.get("anyOf", [inner]):
                if _resolved(option, definitions).get("title") != "File":
                    yield from _rows(option, definitions, f"{name}.")


def _remark(schema: dict[str, Any], *, required: bool) -> str:
    default = schema.get("default")
    state = (
        "required" if required else f"default {json.dumps(default, ensure_ascii=False)}" if default is not None else ""
    )
    return ": ".join(part for part in (state, schema.get("description", "")) if part)


def _type(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    resolved = _resolved(schema, definitions)
    for choice in ("anyOf", "oneOf"):
        if choice in resolved:
            return " | ".join(dict.fromkeys(_type(option, definitions) for option in resolved[choice]))
    if "enum" in resolved:
        return " | ".join(map(str, resolved["enum"]))
    if "const" in resolved:
        return str(resolved["const"])
    told = resolved.get("type", "any")
    kind = " | ".join(told) if isinstance(told, list) else str(told)
    return "file" if resolved.get("title") == "File" else kind


def _resolved(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    reference = str(schema.get("$ref", ""))
    found: dict[str, Any] = definitions.get(reference.removeprefix("#/$defs/"), schema)
    return found
