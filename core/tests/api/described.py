"""Answers beside their description: what the OpenAPI document says of each, checked for every answer that a test gets."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import httpx
from jsonschema import Draft202012Validator
from turnout.services.api.service import openapi

__all__ = ["operation_of", "require_described"]


@cache
def _document() -> dict[str, Any]:
    return openapi()


def operation_of(method: str, path: str) -> dict[str, Any] | None:
    """The operation that a request is of; None where the document has none."""
    for template, operations in _document()["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
            found: dict[str, Any] | None = operations.get(method.lower())
            return found
    return None


def require_described(answer: httpx.Response) -> None:
    """Fails where the answer's status, type or body is not as the document says."""
    request = answer.request
    operation = operation_of(request.method, request.url.raw_path.decode().partition("?")[0])
    assert operation is not None, f"{request.method} {request.url.path} is not described"
    described = operation["responses"].get(str(answer.status_code))
    assert described is not None, f"{operation['operationId']} may not answer {answer.status_code}: {answer.text}"
    content = described.get("content", {})
    kind = answer.headers.get("content-type", "")
    assert set(content) == ({kind} if kind else set()), f"{operation['operationId']}: {kind}"
    if kind:
        schema = {**content[kind]["schema"], "components": _document()["components"]}
        Draft202012Validator(schema).validate(answer.json())
