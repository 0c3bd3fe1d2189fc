"""Schemas of a document: values held to them, and shown to people as JSON Schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from turnout.connectors import Value
from turnout.errors import UserError

from turnout_connectors.openapi.document import Document

if TYPE_CHECKING:
    from turnout_connectors.openapi.checks import Checks

__all__ = ["Schemas"]

_SHOWN_DEFINITIONS: Final = 200
_LEFT_OUT: Final = frozenset({"discriminator", "xml", "externalDocs", "example", "deprecated"})
_VALUES: Final = frozenset({"enum", "default", "const", "examples", "required"})
_BY_NAME: Final = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs"})


class Schemas:
    """Those of one document. References are followed when a value gets there, not before."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._checks: Checks | None = None

    def check(self, schema: Mapping[str, Any]) -> Callable[[Any], Any]:
        """What gives a value back, or raises `ValueError` as `Checks.require` does."""
        made: list[Any] = []

        def check(value: Any) -> Any:
            checks = self._loaded()
            if not made:
                made.append(checks.validator(schema))
            checks.require(made[0], value.load() if isinstance(value, Value) else value)
            return value

        return check if schema else lambda value: value

    def shown(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """As JSON Schema (2020-12) that is whole: what it refers to is in its `$defs`."""
        return _Shown(self._document).whole(schema)

    def _loaded(self) -> Checks:
        if self._checks is None:
            try:
                from turnout_connectors.openapi.checks import Checks
            except ModuleNotFoundError as error:
                raise UserError(
                    f"{self._document.name}: {error.name} is missing, which its schemas need: install turnout-connectors[openapi]"
                ) from error
            self._checks = Checks(self._document)
        return self._checks


@dataclass
class _Shown:
    document: Document
    names: dict[str, str] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)

    def whole(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = self.of(schema)
        definitions: dict[str, Any] = {}
        while self.waiting:
            reference = self.waiting.pop()
            definitions[self.names[reference]] = self.of(self.document.at(reference, ("$ref",)))
        return {**made, **({"$defs": definitions} if definitions else {})}

    def of(self, schema: Any) -> Any:
        if isinstance(schema, list):
            return [self.of(one) for one in schema]
        if not isinstance(schema, Mapping):
            return schema
        if isinstance(schema.get("$ref"), str):
            beside = {"description": schema["description"]} if "description" in schema else {}
            return {**self.referred(schema["$ref"]), **beside}
        made = {
            key: self.part(key, value)
            for key, value in schema.items()
            if key not in _LEFT_OUT and not key.startswith("x-")
        }
        if made.pop("nullable", False) is True and isinstance(made.get("type"), str):
            made["type"] = [made["type"], "null"]
        for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
            if isinstance(made.get(exclusive), bool) and made.pop(exclusive) and bound in made:
                made[exclusive] = made.pop(bound)
        return made

    def part(self, key: str, value: Any) -> Any:
        if key in _VALUES:
            return value
        if key in _BY_NAME and isinstance(value, Mapping):
            return {name: self.of(one) for name, one in value.items()}
        return self.of(value)

    def referred(self, reference: str) -> dict[str, Any]:
        if reference not in self.names:
            if len(self.names) >= _SHOWN_DEFINITIONS:
                return {"$comment": f"see {reference} in the document"}
            name = reference.rsplit("/", 1)[-1] or "document"
            self.names[reference] = (
                name if name not in self.names.values() else reference.lstrip("#/").replace("/", ".")
            )
            self.waiting.append(reference)
        return {"$ref": f"#/$defs/{self.names[reference]}"}
