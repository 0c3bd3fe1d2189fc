"""Values held to schemas, by a library that knows OpenAPI's dialects. Loaded when the first value is checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from jsonschema.exceptions import ValidationError, best_match
from jsonschema.protocols import Validator
from openapi_schema_validator import OAS30WriteValidator, OAS31Validator
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012
from turnout.connectors import File

from turnout_connectors.openapi.document import Document

__all__ = ["Checks"]

_URI: Final = "urn:turnout:document"
_CHECKED_NODES: Final = 20_000


class Checks:
    """Those of one document."""

    def __init__(self, document: Document) -> None:
        registry: Registry[Any] = Registry()
        self._registry = registry.with_resource(_URI, DRAFT202012.create_resource(document.data))
        self._kind = OAS31Validator if document.version == "3.1" else OAS30WriteValidator

    def validator(self, schema: Mapping[str, Any]) -> Validator:
        made: Validator = self._kind(_anchored(schema), registry=self._registry)
        return made

    @staticmethod
    def require(validator: Validator, value: Any) -> None:
        """`ValueError` with what is wrong with a value, and where; it never quotes the value, which may be a secret. A value of
        more than 20,000 parts is left to the other side."""
        if isinstance(value, File) or not _small(value):
            return
        try:
            found = best_match(validator.iter_errors(_without_files(value)))
        except Unresolvable as error:
            raise ValueError(f"the document's schema refers to {error.ref!r}, which there is not") from None
        except RecursionError:
            raise ValueError("it is nested too deeply to be checked") from None
        except Exception as error:
            # A schema that is none makes the library fail wherever it gets to, and in any way.
            raise ValueError(f"the document's schema cannot be used: {type(error).__name__}") from None
        if found is not None:
            raise ValueError(_told(found))


def _anchored(schema: Any) -> Any:
    """References to the document's parts, from wherever this schema is used."""
    if isinstance(schema, Mapping):
        return {
            key: f"{_URI}{value}" if key == "$ref" and isinstance(value, str) else _anchored(value)
            for key, value in schema.items()
        }
    return [_anchored(one) for one in schema] if isinstance(schema, list) else schema


def _without_files(value: Any) -> Any:
    """A file is a text to a schema (`format: binary`)."""
    if isinstance(value, Mapping):
        return {key: _without_files(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_files(one) for one in value]
    return "" if isinstance(value, File) else value


def _small(value: Any) -> bool:
    return all(number < _CHECKED_NODES for number, _ in enumerate(_nodes(value)))


def _nodes(value: Any) -> Iterator[Any]:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        yield one
        if isinstance(one, Mapping):
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def _told(error: ValidationError) -> str:
    """In words of ours: those of the library quote the value."""
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path).lstrip(".")
    said: Any = error.validator_value
    instance: Any = error.instance
    match str(error.validator):
        case "type":
            what = f"must be {' or '.join(said) if isinstance(said, list) else said}"
        case "enum":
            what = f"must be one of {', '.join(map(repr, said))}"
        case "const":
            what = f"must be {said!r}"
        case "required":
            missing = next((one for one in said if one not in instance), "")
            what = f"needs {missing!r}"
        case "additionalProperties" | "unevaluatedProperties":
            what = "has a property that the API does not know"
        case "pattern":
            what = f"must match {said}"
        case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf":
            what = f"must keep to its {error.validator} of {said}"
        case "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties":
            what = f"must keep to its {error.validator} of {said}"
        case "readOnly":
            what = "is set by the API alone"
        case other:
            what = f"does not fit what the API's document says ({other})"
    return f"{where} {what}" if where else what
