"""The OpenAPI 3.1 document, made of the same table as the routes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

import msgspec

from turnout.services.api.endpoint import PREFIX, Endpoint, Nothing
from turnout.services.api.problems import PROBLEM_TYPE, TITLES, Problem
from turnout.services.api_keys import Role

__all__ = ["document"]

_REFERENCE: Final = "#/components/schemas/{name}"
_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_DESCRIPTION: Final = (
    "What people set up and look at. Send an API key as `Authorization: Bearer turnout_…`. A key of one customer sees that "
    "customer alone: what belongs to others is not found. Refusals are problem details (RFC 9457)."
)
_MADE: Final = {200: "Done", 201: "Made", 202: "Accepted", 204: "Done, and there is nothing to say"}


def document(endpoints: Sequence[Endpoint[Any, Any]]) -> dict[str, Any]:
    """The whole document, ready for JSON."""
    models = [model for one in endpoints for model in (one.answer, one.body, one.query) if _is_said(model)]
    _, components = msgspec.json.schema_components([Problem, *models], ref_template=_REFERENCE)
    queries = {one.query.__name__ for one in endpoints}
    paths: dict[str, dict[str, Any]] = {}
    for one in endpoints:
        paths.setdefault(f"{PREFIX}{one.path}", {})[one.method.lower()] = _operation(one, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Turnout", "version": version("turnout"), "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "tags": [{"name": tag} for tag in dict.fromkeys(one.tag for one in endpoints if one.tag)],
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in sorted(components.items()) if name not in queries},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key."}},
        },
    }


def _is_said(model: Any) -> bool:
    return model not in (None, Nothing, dict)


def _operation(endpoint: Endpoint[Any, Any], components: Mapping[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "description": _description(endpoint),
        "tags": [endpoint.tag],
        "parameters": [*_path_parameters(endpoint), *_query_parameters(endpoint, components), *_headers(endpoint)],
        "responses": {**_successes(endpoint), **_failures(endpoint)},
    }
    if endpoint.public:
        operation["security"] = []
    if endpoint.body is not Nothing:
        required = bool(components[endpoint.body.__name__].get("required"))
        operation["requestBody"] = {"required": required, "content": _json_of(endpoint.body)}
    return operation


def _description(endpoint: Endpoint[Any, Any]) -> str:
    if endpoint.public:
        return endpoint.description
    whose = "the organisation's key" if endpoint.organisation else "a key"
    needed = (
        f"Needs {whose} of role `{endpoint.role.value}`" + ("" if endpoint.role is Role.ADMIN else " or more") + "."
    )
    return f"{endpoint.description} {needed}".strip()


def _path_parameters(endpoint: Endpoint[Any, Any]) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PARAMETER.findall(endpoint.path)
    ]


def _query_parameters(endpoint: Endpoint[Any, Any], components: Mapping[str, Any]) -> list[dict[str, Any]]:
    if endpoint.query is Nothing:
        return []
    schema = components[endpoint.query.__name__]
    return [
        _query_parameter(name, dict(one), required=name in schema.get("required", ()))
        for name, one in schema["properties"].items()
    ]


def _query_parameter(name: str, schema: dict[str, Any], *, required: bool) -> dict[str, Any]:
    if schema.get("default") == "":
        del schema["default"]
    parameter = {"name": name, "in": "query", "required": required, "schema": schema}
    if "description" in schema:
        parameter["description"] = schema.pop("description")
    return parameter


def _headers(endpoint: Endpoint[Any, Any]) -> list[dict[str, Any]]:
    if not endpoint.conditional or endpoint.method == "GET":
        return []
    described = "The `ETag` that was read: 412 if it has changed since."
    return [
        {"name": "If-Match", "in": "header", "required": False, "description": described, "schema": {"type": "string"}}
    ]


def _successes(endpoint: Endpoint[Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status in endpoint.statuses:
        found[str(status)] = {"description": _MADE[status]}
        if endpoint.answer is not None and status != 204:
            found[str(status)]["content"] = _json_of(endpoint.answer)
        if endpoint.conditional and status != 204:
            found[str(status)]["headers"] = {"ETag": {"schema": {"type": "string"}}}
    if endpoint.conditional and endpoint.method == "GET":
        found["304"] = {"description": "It is what `If-None-Match` names"}
    return found


def _failures(endpoint: Endpoint[Any, Any]) -> dict[str, Any]:
    every = set() if endpoint.public else {400, 401, 403, 429, 503}
    if endpoint.body is not Nothing:
        every |= {413, 415}
    if endpoint.conditional and endpoint.method != "GET":
        every.add(412)
    problem = {"schema": {"$ref": _REFERENCE.format(name="Problem")}}
    return {
        str(status): {"description": TITLES[status], "content": {PROBLEM_TYPE: problem}}
        for status in sorted({*every, *endpoint.refusals, *([404] if "{" in endpoint.path else [])})
    }


def _json_of(model: Any) -> dict[str, Any]:
    schema = {"type": "object"} if model is dict else {"$ref": _REFERENCE.format(name=model.__name__)}
    return {"application/json": {"schema": schema}}
