"""Documents that are damaged somewhere: refused with their place, or used without the part; never a fault of ours."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from turnout.errors import UserError
from turnout_connectors.openapi.document import parse
from turnout_connectors.openapi.operations import operations
from turnout_connectors.openapi.source import OpenApiSource

Way = tuple[Any, ...]

MODERN: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "t", "description": "d"},
    "externalDocs": {"url": "https://example.com"},
    "servers": [{"url": "https://{a}.example.com", "variables": {"a": {"default": "x", "enum": ["x", "y"]}}}],
    "security": [{"o": ["a"]}, {"b": []}, {"k": [], "b": []}, {}],
    "paths": {
        "/a/{id}": {
            "summary": "s",
            "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "integer", "enum": [1]}}],
            "get": {
                "operationId": "ask",
                "parameters": [
                    {"name": "cursor", "in": "query", "style": "deepObject", "schema": {"type": "object"}},
                    {"name": "q", "in": "query", "content": {"application/json": {"schema": {"type": "array"}}}},
                ],
                "responses": {
                    "200": {
                        "headers": {"Link": {}},
                        "content": {
                            "application/json": {
                                "schema": {
                                    "allOf": [{"$ref": "#/components/schemas/Pets"}],
                                    "properties": {
                                        "meta": {"properties": {"next_cursor": {"type": ["string", "null"]}}}
                                    },
                                }
                            }
                        },
                    }
                },
            },
            "post": {
                "requestBody": {
                    "content": {
                        "multipart/form-data": {
                            "schema": {"$ref": "#/components/schemas/Pets"},
                            "encoding": {"a": {"style": "deepObject"}},
                        }
                    }
                },
                "security": [{"k": []}],
            },
        }
    },
    "components": {
        "schemas": {"Pets": {"type": "object", "properties": {"data": {"type": "array", "items": {"type": "string"}}}}},
        "securitySchemes": {
            "k": {"type": "apiKey", "in": "header", "name": "K"},
            "b": {"type": "http", "scheme": "basic"},
            "o": {
                "type": "oauth2",
                "flows": {
                    "authorizationCode": {
                        "tokenUrl": "https://a.example/t",
                        "authorizationUrl": "https://a.example/a",
                        "scopes": {"a": ""},
                    }
                },
            },
        },
    },
}
OLD: dict[str, Any] = {
    "swagger": "2.0",
    "host": "api.example.com",
    "basePath": "/b",
    "schemes": ["https"],
    "consumes": ["application/json"],
    "securityDefinitions": {
        "o": {
            "type": "oauth2",
            "flow": "accessCode",
            "tokenUrl": "https://a.example/t",
            "authorizationUrl": "https://a.example/a",
            "scopes": {"a": "b"},
        }
    },
    "security": [{"o": []}],
    "paths": {
        "/a/{id}": {
            "post": {
                "consumes": ["multipart/form-data"],
                "parameters": [
                    {"name": "id", "in": "path", "type": "string", "required": True},
                    {"name": "f", "in": "formData", "type": "file"},
                    {"name": "c", "in": "query", "type": "array", "collectionFormat": "csv"},
                ],
                "responses": {"200": {"schema": {"type": "array"}, "headers": {"link": {}}}},
            }
        }
    },
}


def ways(node: Any, way: Way = ()) -> Iterator[Way]:
    yield way
    parts = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, inner in parts:
        yield from ways(inner, (*way, key))


def damaged(node: Any, way: Way, by: Any) -> Any:
    if not way:
        return by
    changed = copy.copy(node)
    changed[way[0]] = damaged(node[way[0]], way[1:], by)
    return changed


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(["#/paths", "#/nowhere", "$ref", "{a}", "https://[", "query", "object"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["$ref", "a", "type", "properties", "in", "name"]), inner, max_size=2)
    ),
    max_leaves=4,
)
DAMAGE = st.sampled_from([(base, way) for base in (MODERN, OLD) for way in ways(base)])


@given(damage=DAMAGE, by=JUNK)
def test_damage_anywhere_is_refused_or_does_no_harm(
    tmp_path_factory: pytest.TempPathFactory, damage: Any, by: Any
) -> None:
    base, way = damage
    directory = tmp_path_factory.getbasetemp() / "damaged"
    (directory / "connectors").mkdir(parents=True, exist_ok=True)
    (directory / "connectors" / "it.json").write_text(json.dumps(damaged(base, way, by)))

    said = refusal(directory)

    assert not said or "connectors.it" in said or "connectors/it.json" in said


def refusal(directory: Path) -> str:
    """What is said where it is refused, at the beginning or once it is shown or used; empty where it is taken."""
    try:
        made = OpenApiSource.connector("it", OpenApiSource.Options(document="connectors/it.json"), directory)
        for action in made.actions.values():
            action.inputs.model_json_schema()
            use(action.inputs, {"id": 1, "cursor": {}, "body": {"data": ["x"]}})
            if action.output is not Any:
                action.output.model_json_schema()  # type: ignore[attr-defined]  # a model of its own
        for kind in made.connections.values():
            use(kind, {"key": "k", "k": "k", "username": "u", "password": "p", "token": "t"})
    except UserError as error:
        return str(error)
    return ""


def use(model: type[BaseModel], values: dict[str, Any]) -> None:
    with contextlib.suppress(ValueError):
        model.model_validate(values)


@pytest.mark.parametrize("base", [MODERN, OLD])
def test_undamaged_they_are_whole(base: dict[str, Any]) -> None:
    found = operations(parse(json.dumps(base).encode(), "it"))

    assert [one.method for one in found] == (["GET", "POST"] if base is MODERN else ["POST"])
    assert all(one.parameters for one in found)
