"""Schemas of a document: values held to them, and shown to people as JSON Schema."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, Final

from jsonschema.exceptions import ValidationError, best_match
from jsonschema.protocols import Validator
from openapi_schema_validator import OAS30WriteValidator, OAS31Validator
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012
from turnout.connectors import File, Value

from turnout_connectors.openapi.document import Document

__all__ = ["Schemas"]

_URI: Final = "urn:turnout:document"
_CHECKED_NODES: Final = 20_000
_SHOWN_DEFINITIONS: Final = 200
_ANYTHING: Final[Mapping[str, Any]] = {}


class Schemas:
    """Those of one document. References are followed when a value gets there, not before."""

    def __init__(self, document: Document) -> None:
        self._document = document

    @cached_property
    def _registry(self) -> Registry[Any]:
        registry: Registry[Any] = Registry()
        whole: Registry[Any] = registry.with_resource(_URI, DRAFT202012.create_resource(self._document.data))
        return whole

    def check(self, schema: Mapping[str, Any]) -> Callable[[Any], Any]:
        """What gives a value back, or raises `ValueError` with what is wrong with it, and where; it never quotes the value, which
        may be a secret. A value of more than 20,000 parts is left to the other side."""
        made: list[Validator] = []

        def check(value: Any) -> Any:
            if not made:
                kind = OAS31Validator if self._document.version == "3.1" else OAS30WriteValidator
                made.append(kind(_anchored(schema), registry=self._registry))
            plain = value.load() if isinstance(value, Value) else value
            if isinstance(plain, File) or not _small(plain):
                return value
            try:
                found = best_match(made[0].iter_errors(_without_files(plain)))
            except Unresolvable as error:
                raise ValueError(f"the document's schema refers to {error.ref!r}, which there is not") from None
            except RecursionError:
                raise ValueError("it is nested too deeply to be checked") from None
            if found is not None:
                raise ValueError(_told(found))
            return value

        return check

    def shown(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """As JSON Schema (2020-12) that is whole: what it refers to is in its `$defs`."""
        definitions: dict[str, Any] = {}
        shown = self._shown(schema, definitions, 0)
        return {**shown, **({"$defs": definitions} if definitions else {})}

    def _shown(self, schema: Any, definitions: dict[str, Any], depth: int) -> Any:
        if not isinstance(schema, Mapping):
            return [self._shown(one, definitions, depth + 1) for one in schema] if isinstance(schema, list) else schema
        reference = schema.get("$ref")
        if isinstance(reference, str):
            return self._referred(reference, definitions, depth)
        made = {
            key: value if key in _VALUES else self._shown(value, definitions, depth + 1)
            for key, value in schema.items()
            if key not in _LEFT_OUT and not key.startswith("x-")
        }
        if made.pop("nullable", False) is True and isinstance(made.get("type"), str):
            made["type"] = [made["type"], "null"]
        for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
            if isinstance(made.get(exclusive), bool) and made.pop(exclusive) and bound in made:
                made[exclusive] = made.pop(bound)
        return made

    def _referred(self, reference: str, definitions: dict[str, Any], depth: int) -> dict[str, Any]:
        name = reference.rsplit("/", 1)[-1] or "document"
        if name not in definitions:
            if len(definitions) >= _SHOWN_DEFINITIONS:
                return {"$comment": f"see {reference} in the document"}
            definitions[name] = _ANYTHING
            target = self._document.at(reference, ("$ref",))
            definitions[name] = self._shown(target, definitions, depth + 1)
        return {"$ref": f"#/$defs/{name}"}


_LEFT_OUT: Final = frozenset({"discriminator", "xml", "externalDocs", "example", "deprecated"})
_VALUES: Final = frozenset({"enum", "default", "const", "examples", "required"})


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
