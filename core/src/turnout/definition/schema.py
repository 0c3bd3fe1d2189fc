"""The JSON Schema of definitions in YAML, made from the grammar that the loader reads by.

It describes the canonical form and the short forms, so that editors complete and check while one types. It says less than
`turnout validate`: references, actions and inputs depend on what is installed.
"""

from __future__ import annotations

from typing import Any, Final

from turnout.definition import grammar, shapes
from turnout.definition.grammar import KINDS, STEP, TRIGGERS
from turnout.definition.shapes import Key, Kind, Shape, Type

__all__ = ["json_schema"]

_EXPRESSION: Final = r"\$\{\{"
_DURATION: Final = r"^\s*(?:[0-9]+(?:\.[0-9]+)?\s*(?:ms|[smhdw])\s*)+$|^\s*[0-9]+(?:\.[0-9]+)?\s*$"

Schema = dict[str, Any]


def json_schema() -> Schema:
    """A JSON Schema (draft 2020-12) for `integration.yaml`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A Turnout integration",
        **_of(grammar.INTEGRATION),
        "$defs": {
            "steps": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/step"}},
            "handler": _steps_or_mapping(),
            "step": {"oneOf": [{"$ref": f"#/$defs/{name}-step"} for name in KINDS]},
            **{f"{name}-step": _step(kind) for name, kind in KINDS.items()},
            "trigger": _trigger(),
            "branch": _branch(),
            "arms": _arms(),
        },
    }


def _of(kind: Type) -> Schema:  # noqa: C901, PLR0912 - one arm a type
    match kind:
        case shapes.Text():
            if kind.pattern:
                return {"type": ["string", "number", "boolean"], "pattern": f"^{kind.pattern}$"}
            if kind.empty:
                return {"type": ["string", "number", "boolean", "null"]}
            return {"type": ["string", "number", "boolean"], "pattern": r"\S"}
        case shapes.Data():
            return {}
        case shapes.Condition():
            return {"type": ["string", "boolean", "number"], "pattern": r"\S"}
        case shapes.Duration():
            text = f"{_DURATION}|{_EXPRESSION}" if kind.expression else _DURATION
            return {"type": ["string", "number"], "pattern": text, "minimum": 0}
        case shapes.Number():
            return _number(kind)
        case shapes.Flag():
            return {"type": "boolean"}
        case shapes.Choice():
            return {"enum": [str(value) for value in kind.values]}
        case shapes.ListOf():
            array = {"type": "array", "items": _of(kind.item)}
            return {"anyOf": [array, _of(kind.item)]} if kind.single else array
        case shapes.MapOf():
            return _map(kind)
        case shapes.Shape():
            return _shape(kind)
        case shapes.EitherOf():
            return {"anyOf": [_of(kind.scalar), _of(kind.other)]}
        case shapes.OrFlag():
            return {"anyOf": [{"type": "boolean"}, _of(kind.other)]}
        case shapes.Special():
            return {"$ref": f"#/$defs/{kind.name}"}


def _number(kind: shapes.Number) -> Schema:
    schema: Schema = {"type": ["number", "boolean"] if kind.flag else "integer" if kind.integer else "number"}
    if kind.minimum is not None:
        schema["minimum"] = kind.minimum
    if kind.maximum is not None:
        schema["maximum"] = kind.maximum
    return {"anyOf": [schema, {"type": "string", "pattern": _EXPRESSION}]} if kind.expression else schema


def _map(kind: shapes.MapOf) -> Schema:
    schema: Schema = {
        "type": "object" if kind.required else ["object", "null"],
        "propertyNames": {"pattern": f"^{kind.names}$"},
        "additionalProperties": _of(kind.item),
    }
    return {**schema, "minProperties": 1} if kind.required else schema


def _shape(shape: Shape) -> Schema:
    schema = _object(shape.keys)
    if shape.extensions:
        schema["patternProperties"] = {"^x-": {}}
    forms = [schema]
    if shape.short:
        short = _of(next(key.type for key in shape.keys if key.name == shape.short))
        forms.append(short or {"type": ["string", "number", "boolean", "array"]})
    if shape.empty:
        forms.append({"type": "null"})
    return schema if len(forms) == 1 else {"anyOf": forms}


def _object(keys: tuple[Key, ...]) -> Schema:
    properties = {key.name: {**_of(key.type), "description": key.doc} for key in keys}
    for key in keys:
        same = {**_of(key.type), "description": f"The same as `{key.name}`.", "deprecated": True}
        properties |= dict.fromkeys(key.also, same)
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    required = [key.name for key in keys if key.required]
    return {**schema, "required": required} if required else schema


def _step(kind: Kind) -> Schema:
    """A step of one kind. A control step's keys may stand in its block or beside it, so neither place requires them."""
    block, beside = kind.block, kind.beside
    required: list[Schema] = []
    if isinstance(block, Shape):
        taken = {key.name for key in (*STEP, *beside)}
        beside = (*beside, *(_optional(key) for key in block.keys if key.name not in taken))
        required = [_somewhere(kind, block, key) for key in block.keys if key.required]
        block = Shape(block.what, tuple(_optional(key) for key in block.keys), block.short, empty=True)
    own = Key(name=kind.name, type=block, doc=kind.doc, required=True)
    schema = _object((*STEP, own, *beside))
    schema["description"] = kind.doc
    return {**schema, "allOf": required} if required else schema


def _somewhere(kind: Kind, block: Shape, key: Key) -> Schema:
    """That a key stands in the block or beside it, or that the block is a bare value which stands for it."""
    inside = {"properties": {kind.name: {"type": "object", "required": [key.name]}}}
    forms: list[Schema] = [inside, {"required": [key.name]}]
    if block.short == key.name:
        forms.append({"properties": {kind.name: {"type": ["string", "number", "boolean"]}}})
    return {"anyOf": forms}


def _optional(key: Key) -> Key:
    return Key(name=key.name, type=key.type, doc=key.doc, also=key.also)


def _trigger() -> Schema:
    """One key: a built-in trigger, or a connector's."""
    built_in = [
        {"type": "object", "properties": {name: _of(kind)}, "required": [name], "additionalProperties": False}
        for name, kind in TRIGGERS.items()
        if name != "schedule"
    ]
    schedule = {
        "type": "object",
        "properties": {
            "schedule": {
                "anyOf": [
                    {
                        **_of(TRIGGERS["schedule"]),
                        "oneOf": [{"required": ["cron"]}, {"required": ["every"]}, {"required": ["at"]}],
                    },
                    {"type": ["string", "number"], "pattern": r"\S"},
                ]
            }
        },
        "required": ["schedule"],
        "additionalProperties": False,
    }
    keys = {key.name: {**_of(key.type), "description": key.doc} for key in grammar.CONNECTOR_TRIGGER.keys}
    connector = {
        "type": "object",
        "properties": keys,
        "patternProperties": {r"^[^.\s]+\.[^.\s]+$": _of(grammar.CONNECTOR_TRIGGER)},
        "minProperties": 1,
        "additionalProperties": False,
    }
    bare = {"anyOf": [{"enum": [name for name in TRIGGERS if name != "schedule"]}, {"pattern": r"^[^.\s]+\.[^.\s]+$"}]}
    return {"anyOf": [*built_in, schedule, connector, {"type": "string", **bare}]}


def _branch() -> Schema:
    steps, handler = {"$ref": "#/$defs/steps"}, {"$ref": "#/$defs/handler"}
    when = {**_of(shapes.Condition()), "description": "The arm runs if this holds and none before it did."}
    arm = {
        "type": "object",
        "properties": {"when": when, "steps": steps},
        "required": ["when", "steps"],
        "additionalProperties": False,
    }
    otherwise = {
        "type": "object",
        "properties": {"else": handler},
        "required": ["else"],
        "additionalProperties": False,
    }
    marked = {
        "type": "object",
        "properties": {"else": {"enum": [True, None]}, "steps": steps},
        "required": ["else", "steps"],
        "additionalProperties": False,
    }
    arms = {"type": "array", "minItems": 1, "items": {"anyOf": [arm, otherwise, marked]}}
    one = {**arm, "properties": {"when": when, "steps": steps, "else": handler}}
    listed = {
        "type": "object",
        "properties": {"arms": arms, "else": handler},
        "required": ["arms"],
        "additionalProperties": False,
    }
    return {"anyOf": [arms, one, listed]}


def _steps_or_mapping() -> Schema:
    steps = {"$ref": "#/$defs/steps"}
    mapping = {"type": "object", "properties": {"steps": steps}, "required": ["steps"], "additionalProperties": False}
    return {"anyOf": [steps, mapping]}


def _arms() -> Schema:
    by_name = {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": f"^{grammar.ID}$"},
        "additionalProperties": {"$ref": "#/$defs/handler"},
    }
    wrapped = {"type": "object", "properties": {"arms": by_name}, "required": ["arms"], "additionalProperties": False}
    arm = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "pattern": f"^{grammar.ID}$"},
            "steps": {"$ref": "#/$defs/steps"},
        },
        "required": ["name", "steps"],
        "additionalProperties": False,
    }
    return {"anyOf": [by_name, wrapped, {"type": "array", "minItems": 1, "items": arm}]}
