"""What the reference says of the HTTP API: every operation, from the OpenAPI document."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from turnout.services.api.service import openapi

__all__ = ["operations"]


def operations(table: Callable[[Sequence[str], Sequence[Sequence[str]]], str]) -> str:
    """A section a tag; `table` makes tables of Markdown."""
    document = openapi()
    found: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            section = found.setdefault(operation["tags"][0], [])
            section += _operation(method.upper(), path, operation, document["components"]["schemas"], table)
    return "\n".join(line for tag, lines in found.items() for line in (f"## {tag.capitalize()}", "", *lines))


def _operation(
    method: str,
    path: str,
    operation: Mapping[str, Any],
    schemas: Mapping[str, Any],
    table: Callable[[Sequence[str], Sequence[Sequence[str]]], str],
) -> Iterator[str]:
    yield f"### {method} {path.replace('{', '<').replace('}', '>')}"
    yield ""
    yield f"{operation['summary']}. {operation['description']}".strip()
    yield ""
    rows = [
        (f"`{one['name']}`", one["in"], _kind(one["schema"], schemas), one.get("description", ""))
        for one in operation["parameters"]
        if one["in"] != "path"
    ]
    if "requestBody" in operation:
        schema = _named(operation["requestBody"]["content"]["application/json"]["schema"], schemas)
        yield f"Body: {_sentence(schema)}" if "description" in schema else ""
        yield ""
        needed = schema.get("required", ())
        rows += [
            (f"`{name}`", "body, needed" if name in needed else "body", _kind(one, schemas), one.get("description", ""))
            for name, one in schema["properties"].items()
        ]
    if rows:
        yield table(("name", "in", "is", "meaning"), rows)
    yield from _answers(operation, schemas)


def _answers(operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    successes = {status: one for status, one in operation["responses"].items() if status < "300"}
    for status, one in successes.items():
        content = one.get("content", {}).get("application/json")
        schema = {} if content is None else _named(content["schema"], schemas)
        fields = ", ".join(f"`{name}`" for name in schema.get("properties", {}))
        yield f"Answers {status}: {_sentence(schema)}{f' {fields}.' if fields else ''}".strip()
        yield ""
    refused = ", ".join(status for status in operation["responses"] if status >= "300")
    if refused:
        yield f"Refuses with {refused}."
        yield ""


def _sentence(schema: Mapping[str, Any]) -> str:
    return " ".join(str(schema.get("description", "")).split())


def _named(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in schema:
        return schema
    found: Mapping[str, Any] = schemas[schema["$ref"].rpartition("/")[2]]
    return found


def _kind(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    schema = _named(schema, schemas)
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_kind(one, schemas) for one in schema["anyOf"])
    kind = str(schema.get("type", "anything"))
    bounds = [f"from {schema['minimum']}"] if "minimum" in schema else []
    bounds += [f"to {schema['maximum']:g}"] if "maximum" in schema and schema["maximum"] < 1e6 else []
    default = f", {schema['default']!r} without it" if schema.get("default") not in (None, "", False) else ""
    return f"{schema.get('format', kind)}{' ' if bounds else ''}{' '.join(bounds)}{default}"
