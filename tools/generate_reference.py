"""Write what the reference takes from the code: `make docs`. With `--check` say what is not current, and change nothing.

A page holds prose by hand, and between `<!-- generated: NAME -->` and `<!-- end -->` what the code says. Pages of
connectors are generated whole.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import turnout_connectors.plugin
from turnout import hookspecs
from turnout.cli.program import Program
from turnout.cli.schemas import input_schema, output_schema
from turnout.config import SETTINGS, default_text
from turnout.definition import grammar, shapes, webhook_grammar
from turnout.expressions.functions import FUNCTIONS, STANDARD_ARITY
from turnout.interfaces import (
    catalog,
    clock,
    connector,
    journal,
    keys,
    notifier,
    payloads,
    queue,
    records,
    sandbox,
    secrets,
    service,
    state,
    target,
)
from turnout.interfaces.connector import Action, AfterCrash, Connector, Effect, Trigger
from turnout.interfaces.polling import PollingTrigger
from turnout.interfaces.schemes import SCHEMES, Scheme
from turnout.interfaces.signatures import Basic, Certificate, Signature, Token

from tools.generate_api_reference import operations

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"
INTERFACES: Mapping[str, type] = {
    "Queue": queue.Queue,
    "Journal": journal.Journal,
    "RecordStore": records.RecordStore,
    "PayloadStore": payloads.PayloadStore,
    "StateStore": state.StateStore,
    "CatalogStore": catalog.CatalogStore,
    "SecretStore": secrets.SecretStore,
    "KeyWrapper": keys.KeyWrapper,
    "Notifier": notifier.Notifier,
    "Sandbox": sandbox.Sandbox,
    "SandboxHandle": sandbox.SandboxHandle,
    "Service": service.Service,
    "Target": target.Target,
    "Connector": connector.Connector,
    "ActionContext": connector.ActionContext,
    "Files": connector.Files,
    "State": connector.State,
    "Clock": clock.Clock,
}
_SECTION = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def pages() -> dict[Path, str]:
    """Every page that has something generated, as it should be."""
    found = {}
    for path in sorted(REFERENCE.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        if _SECTION.search(text):
            found[path] = _SECTION.sub(lambda match: f"{match[1]}\n{SECTIONS[match[2]]()}\n{match[3]}", text)
    for name, one in sorted(connectors().items()):
        found[REFERENCE / "connectors" / f"{name}.md"] = connector_page(one)
    return found


def connectors() -> Mapping[str, Connector]:
    return turnout_connectors.plugin.turnout_connectors()


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return (
        "\n".join(
            "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in lines
        )
        + "\n"
    )


def settings() -> str:
    return table(
        ("setting", "default", "meaning"),
        [(f"`{one.name}`", _default(one.default), one.description) for one in SETTINGS],
    )


def _default(value: Any) -> str:
    return f"`{text}`" if (text := default_text(value)) else "none"


def functions() -> str:
    rows = [(f"`{one.signature}`", one.description) for one in FUNCTIONS.values()]
    return table(("function", "gives"), rows)


def standard_functions() -> str:
    return ", ".join(f"`{name}`" for name in sorted(STANDARD_ARITY)) + "\n"


def hooks() -> str:
    names = [name for name in vars(hookspecs) if name.startswith("turnout_")]
    return "\n".join(
        f"### {name}\n\n`{name}{_signature(getattr(hookspecs, name))}`\n\n{_doc(getattr(hookspecs, name))}\n"
        for name in names
    )


def interfaces() -> str:
    return "\n".join(_interface(name, cls) for name, cls in INTERFACES.items())


def _interface(name: str, cls: type) -> str:
    lines = [f"## {name}", "", f"`{cls.__module__}.{name}`. {_doc(cls)}", ""]
    for member, value in vars(cls).items():
        if member.startswith("_"):
            continue
        if isinstance(value, property):
            lines += [f"- **`{member}`** (property) {_doc(value)}".rstrip()]
        elif inspect.isfunction(value):
            word = "async " if inspect.iscoroutinefunction(value) else ""
            lines += [f"- **`{word}{member}{_signature(value)}`** {_doc(value)}".rstrip()]
    return "\n".join(lines) + "\n"


def _signature(function: Callable[..., Any]) -> str:
    text = str(inspect.signature(function)).replace("(self, ", "(").replace("(self)", "()").replace("'", "")
    return re.sub(r"\bturnout\.[\w.]+\.", "", text)


def _doc(thing: object) -> str:
    return " ".join(inspect.cleandoc(getattr(thing, "__doc__", "") or "").split())


def commands() -> str:
    program = Program()
    return "\n".join(
        _command(("turnout", name), program.get_command(click.Context(program), name)) for name in _names()
    )


def _names() -> list[str]:
    from turnout.cli.program import COMMANDS

    return sorted(COMMANDS)


def _command(path: tuple[str, ...], command: click.Command | None) -> str:
    assert command is not None
    title = " ".join(path)
    with click.Context(command, info_name=title) as context:
        usage = " ".join(["`" + title, *command.collect_usage_pieces(context)]) + "`"
        help_text = re.sub(
            r"\x08\n((?:[^\n]+\n?)+)", r"```text skip=a-listing\n\1\n```", inspect.cleandoc(command.help or "")
        ).replace("\n\n```", "\n\n```")
        options = [
            record for parameter in command.get_params(context) if (record := parameter.get_help_record(context))
        ]
    lines = [f"{'#' * len(path)} {title}", "", usage, "", help_text, ""]
    if options:
        lines += [table(("option", ""), [(f"`{name}`", text) for name, text in options])]
    if isinstance(command, click.Group):
        lines += [_command((*path, name), inner) for name, inner in sorted(command.commands.items())]
    return "\n".join(lines)


def definition_keys() -> str:
    """Every key of a definition, from the table by which it is read."""
    parts = [_keys("An integration", grammar.INTEGRATION)]
    parts += [
        _keys("A config variable", grammar.CONFIG),
        _keys("A connection", grammar.CONNECTION),
        _keys("A flow", grammar.FLOW),
        *_limits(),
    ]
    parts += [
        _keys("A trigger `webhook`", grammar.TRIGGERS["webhook"]),
        _keys("`verify` of a webhook", webhook_grammar.VERIFY),
        _keys("`respond` of a webhook", webhook_grammar.RESPOND),
        schemes(),
        _keys("A trigger `schedule`", grammar.TRIGGERS["schedule"]),
        _keys("A connector's trigger", grammar.CONNECTOR_TRIGGER),
    ]
    parts += [_keys("The block `code` of an integration", grammar.CODE_SETTINGS)]
    parts += [_keys("`python` in that block", grammar.PYTHON_SETTINGS)]
    parts += [_key_table("Every step", grammar.STEP), _keys("`retry`", grammar.RETRY)]
    for kind in grammar.KINDS.values():
        parts.append(_kind(kind))
    return "\n".join(parts)


def schemes() -> str:
    """Every scheme of `verify`, and what it signs."""
    rows = [(f"`{name}`", _linked(scheme), _proof(scheme), _delivery(scheme)) for name, scheme in SCHEMES.items()]
    rows.append(("`hmac`", "A signature that you describe", "what `signed` says", "what `delivery` says"))
    return "### Schemes of `verify`\n\n" + table(("scheme", "of", "what proves it", "a delivery's id"), rows)


def _linked(scheme: Scheme) -> str:
    return f"[{scheme.title}]({scheme.docs})" if scheme.docs else scheme.title


def _proof(scheme: Scheme) -> str:
    match scheme.proof:
        case Signature() as proof:
            return f"`{proof.header}`: {proof.algorithm}, {proof.encoding}, of `{proof.signed}`"
        case Token() as proof:
            return f"the secret in `{proof.header}`"
        case Basic():
            return "`Authorization`"
        case Certificate():
            return "the certificate that the message names, one of AWS's, and the topic"
        case None:
            return "`clientState` of each notification"


def _delivery(scheme: Scheme) -> str:
    if scheme.delivery:
        return f"`{scheme.delivery}`"
    return "the signed content" if isinstance(scheme.proof, Signature) and scheme.proof.is_timed else ""


def _limits() -> Iterator[str]:
    yield _keys("The block `limits` of a flow", grammar.LIMITS)
    for key in grammar.LIMITS.keys:
        shape = key.type.item if isinstance(key.type, shapes.ListOf) else key.type
        if isinstance(shape, shapes.Shape):
            yield _keys(f"`{key.name}` in `limits`", shape)


def _kind(kind: shapes.Kind) -> str:
    blocks = [kind.block, *([kind.block.other] if isinstance(kind.block, shapes.EitherOf) else [])]
    keys = [key for block in blocks if isinstance(block, shapes.Shape) for key in block.keys]
    keys += [key for key in kind.beside if key not in keys]
    return f"### A step `{kind.name}`\n\n{kind.doc}\n\n" + (_rows(keys) if keys else "")


def _keys(title: str, shape: shapes.Type) -> str:
    assert isinstance(shape, shapes.Shape)
    short = f" A bare value stands for `{shape.short}`." if shape.short else ""
    return _key_table(title, shape.keys, short.strip())


def _key_table(title: str, keys: Sequence[shapes.Key], remark: str = "") -> str:
    return f"### {title}\n\n" + (f"{remark}\n\n" if remark else "") + _rows(keys)


def _rows(keys: Sequence[shapes.Key]) -> str:
    rows = [
        (f"`{key.name}`" + (", required" if key.required else ""), _type(key.type), key.doc + _also(key))
        for key in keys
    ]
    return table(("key", "takes", "meaning"), rows)


def _also(key: shapes.Key) -> str:
    return f" Read too: {', '.join(f'`{name}`' for name in key.also)}." if key.also else ""


def _type(kind: shapes.Type) -> str:  # noqa: C901, PLR0912 - one arm a type
    match kind:
        case shapes.Text():
            return kind.what
        case shapes.Condition():
            return "an expression, true or false"
        case shapes.Data():
            return "anything"
        case shapes.Duration():
            return "a duration" + (" or an expression" if kind.expression else "")
        case shapes.Number():
            what = "a whole number" if kind.integer else "a number"
            low, high = (f"{end:,}" if end is not None else "" for end in (kind.minimum, kind.maximum))
            return f"{what}, {low} to {high}" + (", or an expression" if kind.expression else "")
        case shapes.Flag():
            return "true or false"
        case shapes.Choice():
            return " or ".join(f"`{value}`" for value in kind.values)
        case shapes.ListOf():
            return f"a list of {_type(kind.item)}" + (", or one" if kind.single else "")
        case shapes.MapOf():
            return f"by name: {_type(kind.item)}"
        case shapes.Shape():
            bare = "a number, or " if kind is grammar.RETRY else ""
            return kind.what if kind.what.startswith("a") else f"{bare}a block, see {kind.what}"
        case shapes.EitherOf():
            return f"{_type(kind.scalar)}, or {_type(kind.other)}"
        case shapes.OrFlag():
            return f"true or false, or {_type(kind.other)}"
        case shapes.Special():
            return {
                "handler": "a list of steps, or a block with `steps`",
                "steps": "a list of steps",
                "trigger": "one trigger",
                "arms": "lists of steps by name",
                "branch": "a list of arms",
            }[kind.name]


def effect_classes() -> str:
    return table(("effect", "meaning"), [(f"`{one.value}`", _enum_doc(Effect, one.name)) for one in Effect])


def after_crash_classes() -> str:
    return table(
        ("after a crash", "meaning"), [(f"`{one.value}`", _enum_doc(AfterCrash, one.name)) for one in AfterCrash]
    )


def _enum_doc(cls: type, name: str) -> str:
    """The text below a member, which Python keeps in the source alone."""
    found = re.search(rf'\b{name} = [^\n]*\n\s+"""(.*?)"""', inspect.getsource(cls), re.DOTALL)
    assert found is not None, name
    return " ".join(found[1].split())


def connector_list() -> str:
    rows = [(f"[{name}](connectors/{name}.md)", one.description) for name, one in sorted(connectors().items())]
    return table(("connector", "what it does"), rows)


def connector_page(one: Connector) -> str:
    lines = [
        "<!-- Generated from the code by tools/generate_reference.py: change it there. -->",
        f"# {one.title or one.name}",
        "",
        one.description,
        "",
    ]
    lines += (
        [f"Connector `{one.name}`. Documentation of the service: <{one.docs}>", ""]
        if one.docs
        else [f"Connector `{one.name}`.", ""]
    )
    if one.connections:
        lines += ["## Connections", "", "" if one.connection_required else "A step may do without a connection.", ""]
        for name, fields in sorted(one.connections.items()):
            lines += [
                f"### {name}",
                "",
                inspect.cleandoc(fields.__doc__ or ""),
                "",
                _fields(input_schema(fields), "field"),
            ]
    if one.actions:
        lines += ["## Actions", ""]
        lines += [_action(one, one.actions[name]) for name in sorted(one.actions)]
    triggers: dict[str, Trigger | PollingTrigger] = {**one.triggers, **one.polls}
    if triggers:
        lines += ["## Triggers", ""]
        lines += [_trigger(one, triggers[name]) for name in sorted(triggers)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def _action(one: Connector, action: Action) -> str:
    worst = action.worst
    after = f", after a crash `{worst.after_crash.value}`" if worst.effect is Effect.EFFECT else ""
    chosen = "" if _fixed(action) else " at most (it depends on the inputs)"
    effect = f"Effect: `{worst.effect.value}`{after}{chosen}."
    lines = [f"### {one.name}.{action.name}", "", f"{action.title}.", "", action.description, "", effect, ""]
    lines += [_fields(input_schema(action.inputs), "input"), _fields(output_schema(action.output), "output")]
    return "\n".join(lines)


def _trigger(one: Connector, trigger: Trigger | PollingTrigger) -> str:
    how = "It is polled: say `every`." if isinstance(trigger, PollingTrigger) else "It is started by requests."
    lines = [f"### {one.name}.{trigger.name}", "", f"{trigger.title}.", "", trigger.description, "", how, ""]
    return "\n".join([*lines, _fields(input_schema(trigger.inputs), "input")])


def _fixed(action: Action) -> bool:
    return action.effects.__qualname__.startswith("_always")


def _fields(schema: Mapping[str, Any], what: str) -> str:
    definitions = schema.get("$defs", {})
    schema = _resolved(schema, definitions)
    required = schema.get("required", [])
    properties = schema.get("properties", {})
    if not properties:
        return f"The {what}: {_json_type(schema, definitions)}.\n" if what == "output" else f"No {what}s.\n"
    rows = list(_property_rows(properties, required, definitions))
    return table((what, "type", "meaning"), rows)


def _property_rows(
    properties: Mapping[str, Any], required: Sequence[str], definitions: Mapping[str, Any]
) -> Iterator[tuple[str, str, str]]:
    for name, inner in properties.items():
        default = inner.get("default")
        remark = "" if default is None else f" Default: `{_shown(default)}`."
        mark = ", required" if name in required else ""
        about = inner.get("description", "")
        about += "." if about and remark else ""
        yield f"`{name}`{mark}", _json_type(inner, definitions), f"{about}{remark}".strip()


def _json_type(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    schema = _resolved(schema, definitions)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_json_type(option, definitions) for option in schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(f"`{_shown(item)}`" for item in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("title") == "File":
        return "file"
    if schema.get("type") == "array":
        return f"list of {_json_type(schema.get('items', {}), definitions)}"
    return {"string": "text", "null": "null", "any": "anything"}.get(
        str(schema.get("type", "any")), str(schema.get("type"))
    )


def _shown(value: Any) -> str:
    """A value in a table's cell, control characters as they are escaped in code."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(value))


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = definitions.get(str(schema.get("$ref", "")).removeprefix("#/$defs/"), schema)
    return found


SECTIONS: Mapping[str, Callable[[], str]] = {
    "settings": settings,
    "functions": functions,
    "standard-functions": standard_functions,
    "hooks": hooks,
    "interfaces": interfaces,
    "commands": commands,
    "definition-keys": definition_keys,
    "effects": effect_classes,
    "after-crash": after_crash_classes,
    "connectors": connector_list,
    "api": lambda: operations(table),
}


def main(arguments: Sequence[str]) -> int:
    stale = [path for path, text in pages().items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        shown = path.relative_to(REFERENCE.parent.parent)
        if "--check" in arguments:
            sys.stdout.write(f"{shown} is not current: run `make docs`\n")
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(pages()[path], encoding="utf-8")
            sys.stdout.write(f"wrote {shown}\n")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
