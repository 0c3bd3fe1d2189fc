"""JSON Schemas of what actions take and return, from the types their authors wrote."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from turnout.model.payload import File

__all__ = ["FILE_SCHEMA", "input_schema", "output_schema"]

FILE_SCHEMA: JsonSchemaValue = {
    "title": "File",
    "description": "A run of bytes; expressions read its name, size, content_type, sha256, text, json and base64.",
}


def input_schema(model: type[BaseModel]) -> JsonSchemaValue:
    """The schema of inputs or of a connection's fields."""
    return _schema(lambda: TypeAdapter(model), "validation")


def output_schema(annotation: Any) -> JsonSchemaValue:
    """The schema of what an action returns; empty where its annotation says nothing, since anything holds then."""
    # Models have a configuration of their own, and pydantic refuses a second one for them.
    is_model = isinstance(annotation, type) and (issubclass(annotation, BaseModel) or hasattr(annotation, "__total__"))
    config = None if is_model or is_dataclass(annotation) else ConfigDict(arbitrary_types_allowed=True)
    return _schema(lambda: TypeAdapter(annotation, config=config), "serialization")


def _schema(make: Callable[[], TypeAdapter[Any]], mode: Literal["validation", "serialization"]) -> JsonSchemaValue:
    """The schema, or one that holds for everything and says why: a strange type must not hide the rest of a connector."""
    try:
        return make().json_schema(mode=mode, schema_generator=_Generator)
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        return {"$comment": f"no schema: {error.message.splitlines()[0]}"}


class _Generator(GenerateJsonSchema):
    """JSON Schema where types are ours or have no JSON form: a file, and whatever else is checked by its class."""

    def is_instance_schema(self, schema: core_schema.IsInstanceSchema) -> JsonSchemaValue:
        return dict(FILE_SCHEMA) if schema["cls"] is File else {}
