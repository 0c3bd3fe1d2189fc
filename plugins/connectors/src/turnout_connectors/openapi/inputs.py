"""The model of an operation's inputs: a field for each parameter, `body`, and for lists in pages `all_pages`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model
from turnout.connectors import File, Inputs, Value

from turnout_connectors.openapi.operations import Operation, Parameter
from turnout_connectors.openapi.schemas import Schemas

__all__ = ["ALL_PAGES", "BODY", "Shape", "answer_of", "shape_of"]

BODY: Final = "body"
ALL_PAGES: Final = "all_pages"
_KEY: Final = re.compile(r"(x-)?idempotency-key", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """`fields` are the model's fields of parameters, by `place:name`. `idempotency_header` is the one that the document has."""

    model: type[Inputs]
    fields: Mapping[str, str]
    idempotency_header: str | None


class _OperationInputs(Inputs):
    model_config = ConfigDict(defer_build=True)

    schemas: ClassVar[Schemas]
    shown: ClassVar[Mapping[str, Mapping[str, Any]]]
    needed: ClassVar[tuple[str, ...]]

    @classmethod
    def model_json_schema(cls, *_: Any, **__: Any) -> dict[str, Any]:
        """That of the document, whatever is asked for: pydantic knows none of its references."""
        whole = {
            "type": "object",
            "properties": dict(cls.shown),
            "required": list(cls.needed),
            "additionalProperties": False,
        }
        return cls.schemas.shown(whole)


class _Answer(BaseModel):
    model_config = ConfigDict(extra="allow")

    schemas: ClassVar[Schemas]
    shown: ClassVar[Mapping[str, Any]]

    @classmethod
    def model_json_schema(cls, *_: Any, **__: Any) -> dict[str, Any]:
        return cls.schemas.shown(cls.shown)


def answer_of(operation: Operation, schemas: Schemas) -> Any:
    """What stands for an operation's output: a type whose JSON Schema is the document's."""
    if operation.answer is None:
        return Any
    return type("Answer", (_Answer,), {"__module__": __name__, "schemas": schemas, "shown": operation.answer})


def shape_of(operation: Operation, schemas: Schemas, *, paged: bool) -> Shape:
    """Names of fields are those of the document. Two parameters of one name have their place before it."""
    fields: dict[str, Any] = {}
    names: dict[str, str] = {}
    shown: dict[str, Mapping[str, Any]] = {}
    needed: list[str] = []
    header = None
    for parameter in operation.parameters:
        if parameter.place == "header" and _KEY.fullmatch(parameter.name):
            header = parameter.name
            continue
        alias = _alias(parameter, operation)
        field = f"p{len(names)}"
        names[f"{parameter.place}:{parameter.name}"] = field
        description = _line(parameter.description) or f"{parameter.place} parameter {parameter.name}"
        shown[alias] = {**parameter.schema, "description": description}
        kind = Annotated[Any, AfterValidator(schemas.check(parameter.schema))]
        fields[field] = _field(kind, alias, description, required=parameter.required)
        needed += [alias] if parameter.required else []
    if operation.payload is not None:
        payload = operation.payload
        description = _line(payload.description) or f"The body, {payload.content_type}"
        shown[BODY] = {**payload.schema, "description": description}
        held: Any = str | File
        if payload.kind != "raw":
            held = Annotated[Value, AfterValidator(schemas.check(payload.schema))]
        fields[BODY] = _field(held, BODY, description, required=payload.required)
        needed += [BODY] if payload.required else []
    if paged:
        description = "Get the items of all pages, as one list"
        shown[ALL_PAGES] = {"type": "boolean", "default": False, "description": description}
        fields[ALL_PAGES] = (bool, Field(default=False, description=description))
    make: Any = create_model
    made = make(operation.name, __base__=_OperationInputs, __doc__=operation.title, **fields)
    made.schemas, made.shown, made.needed = schemas, shown, tuple(needed)
    return Shape(model=made, fields=names, idempotency_header=header)


def _field(kind: Any, alias: str, description: str, *, required: bool) -> tuple[Any, Any]:
    if required:
        return kind, Field(alias=alias, description=description)
    return kind | None, Field(default=None, alias=alias, description=description)


def _alias(parameter: Parameter, operation: Operation) -> str:
    alike = [one for one in operation.parameters if one.name == parameter.name]
    taken = parameter.name in {BODY, ALL_PAGES}
    return f"{parameter.place}_{parameter.name}" if len(alike) > 1 or taken else parameter.name


def _line(text: str) -> str:
    return " ".join(text.split())
