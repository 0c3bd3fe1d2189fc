"""JSON Schemas of what actions take and return, from the types their authors wrote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
from pydantic.json_schema import JsonSchemaValue

__all__ = ["input_schema", "output_schema"]


def input_schema(model: type[BaseModel]) -> JsonSchemaValue:
    """The schema of inputs or of a connection's fields, as the model has it: one made from a description gives that of the
    description."""
    return _schema(lambda: model.model_json_schema(mode="validation"))


def output_schema(annotation: Any) -> JsonSchemaValue:
    """The schema of what an action returns; empty where its annotation says nothing, since anything holds then."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _schema(lambda: annotation.model_json_schema(mode="serialization"))
    return _schema(lambda: TypeAdapter(annotation).json_schema(mode="serialization"))


def _schema(make: Callable[[], JsonSchemaValue]) -> JsonSchemaValue:
    """The schema, or one that holds for everything and says why: a strange type must not hide the rest of a connector."""
    try:
        return make()
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        return {"$comment": f"no schema: {error.message.splitlines()[0]}"}
