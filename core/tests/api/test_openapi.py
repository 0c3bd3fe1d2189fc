"""The OpenAPI document: every route is in it, every route of it is served, and it says what is true.

That answers are as described is checked for every answer that any of the API's tests gets: `described.py`.
"""

from __future__ import annotations

import json

import httpx
import jsonschema
import pytest
from openapi_spec_validator import validate
from turnout.cli import main
from turnout.local.api import api_of
from turnout.services.api.service import ENDPOINTS, openapi

from core.tests.api.described import require_described
from core.tests.api.town import Town


def test_it_is_valid() -> None:
    validate(openapi())


async def test_every_route_is_in_it_and_nothing_else(town: Town) -> None:
    served = {(route.method, route.path) for route in api_of(town.platform).routes()}

    described = {(method.upper(), path) for path, operations in openapi()["paths"].items() for method in operations}

    assert served == described
    assert len(served) == len(ENDPOINTS) > 10


def test_no_two_operations_have_the_same_name() -> None:
    names = [endpoint.name for endpoint in ENDPOINTS]

    assert len(set(names)) == len(names)


def test_every_operation_says_which_role_it_needs() -> None:
    for path, operations in openapi()["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
            assert operation.get("security") == [] or "role `" in operation["description"], path


async def test_it_is_served_without_a_key_and_printed(town: Town, capsys: pytest.CaptureFixture[str]) -> None:
    served = await town.ask("GET", "/openapi.json", None)
    assert main(["openapi"]) == 0

    assert served.json() == json.loads(capsys.readouterr().out) == openapi()


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, {"items": [], "next": 5}), (200, {"items": [{"id": "x"}], "next": None}), (418, {}), (404, {"error": "no"})],
)
def test_an_answer_that_is_not_as_described_is_noticed(status: int, body: object) -> None:
    request = httpx.Request("GET", "http://localhost/api/v1/executions")
    answer = httpx.Response(status, json=body, request=request)

    with pytest.raises((AssertionError, jsonschema.ValidationError)):
        require_described(answer)


async def test_what_is_not_served_is_a_problem_too(town: Town) -> None:
    unknown = await town.client.get("/api/v1/nothing")
    method = await town.client.put("/api/v1/executions/x")

    assert (unknown.status_code, unknown.headers["content-type"]) == (404, "application/problem+json")
    assert (method.status_code, method.json()["status"]) == (405, 405)
    assert set(method.headers["allow"].split(", ")) == {"GET", "HEAD"}
