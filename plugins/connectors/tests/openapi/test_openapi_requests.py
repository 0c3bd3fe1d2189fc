"""What is sent: the styles of OpenAPI, bodies of each kind, what comes back."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, unquote

import pytest
from starlette.responses import JSONResponse, PlainTextResponse, Response
from turnout.connectors import AfterCrash, Connector, Effect, StepError
from turnout.errors import SettingsError
from turnout.testing.connectors import ActionRunner, ConnectorContract

from ..servers import Recorder
from .conftest import Make

ARRAY = ["blue", "black", "brown"]
OBJECT = {"R": 100, "G": 200, "B": 150}


def one(name: str, place: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": {}, **more}


async def sent(make: Make, server: str, path: str, parameters: list[Any], inputs: dict[str, Any]) -> dict[str, Any]:
    """What the server received."""
    made = make(
        {"servers": [{"url": server}], "paths": {path: {"get": {"operationId": "ask", "parameters": parameters}}}}
    )
    async with ActionRunner(made) as runner:
        seen: dict[str, Any] = (await runner.run("ask", inputs)).load()
        return seen


@pytest.mark.parametrize(
    ("style", "explode", "value", "query"),
    [
        # https://spec.openapis.org/oas/v3.1.0.html#style-examples
        ("form", False, ARRAY, "color=blue,black,brown"),
        ("form", True, ARRAY, "color=blue&color=black&color=brown"),
        ("form", False, OBJECT, "color=R,100,G,200,B,150"),
        ("form", True, OBJECT, "R=100&G=200&B=150"),
        ("form", True, "blue", "color=blue"),
        ("form", True, "", "color="),
        ("form", True, True, "color=true"),
        ("form", True, "a b&c", "color=a b&c"),
        ("spaceDelimited", False, ARRAY, "color=blue black brown"),
        ("pipeDelimited", False, ARRAY, "color=blue|black|brown"),
        ("deepObject", True, OBJECT, "color[R]=100&color[G]=200&color[B]=150"),
    ],
)
async def test_a_query_is_written_as_its_style_has_it(
    make: Make, server: str, style: str, explode: bool, value: Any, query: str
) -> None:
    parameter = one("color", "query", style=style, explode=explode)

    seen = await sent(make, server, "/a", [parameter], {"color": value})

    expected = [("color", "a b&c")] if value == "a b&c" else parse_qsl(query, keep_blank_values=True)
    assert parse_qsl(seen["query"], keep_blank_values=True) == expected


@pytest.mark.parametrize(
    ("style", "explode", "value", "path"),
    [
        ("simple", False, ARRAY, "blue,black,brown"),
        ("simple", True, OBJECT, "R=100,G=200,B=150"),
        ("simple", False, OBJECT, "R,100,G,200,B,150"),
        ("label", False, "blue", ".blue"),
        ("label", True, ARRAY, ".blue.black.brown"),
        ("label", True, OBJECT, ".R=100.G=200.B=150"),
        ("matrix", False, "blue", ";color=blue"),
        ("matrix", False, ARRAY, ";color=blue,black,brown"),
        ("matrix", True, ARRAY, ";color=blue;color=black;color=brown"),
        ("matrix", True, OBJECT, ";R=100;G=200;B=150"),
        ("simple", False, "a/b?c", "a/b?c"),
    ],
)
async def test_a_path_is_written_as_its_style_has_it(
    make: Make, server: str, recorder: Recorder, style: str, explode: bool, value: Any, path: str
) -> None:
    await sent(make, server, "/x/{color}/y", [one("color", "path", style=style, explode=explode)], {"color": value})

    assert unquote(recorder.received[-1]["path"]) == f"/x/{path}/y"
    assert recorder.received[-1]["query"] == ""


@pytest.mark.parametrize("value", ["..", ".", ""])
async def test_a_path_cannot_be_left_by_an_input(make: Make, server: str, recorder: Recorder, value: str) -> None:
    with pytest.raises(StepError, match="a part of the path cannot be empty or dots"):
        await sent(make, server, "/x/{color}", [one("color", "path")], {"color": value})
    assert recorder.received == []


async def test_headers_and_cookies_are_sent(make: Make, server: str) -> None:
    parameters = [
        one("X-Tags", "header"),
        one("session", "cookie"),
        one("filter", "query", content={"application/json": {"schema": {"type": "object"}}}),
        one("Authorization", "header"),
    ]

    seen = await sent(make, server, "/a", parameters, {"X-Tags": [1, 2], "session": "a;b", "filter": {"a": [1]}})

    assert seen["headers"]["x-tags"] == "1,2"
    assert seen["headers"]["cookie"] == "session=a%3Bb"
    assert dict(parse_qsl(seen["query"])) == {"filter": '{"a": [1]}'}


async def test_a_header_cannot_be_broken_out_of(make: Make, server: str, recorder: Recorder) -> None:
    with pytest.raises((StepError, ValueError), match="control character"):
        await sent(make, server, "/a", [one("X-A", "header")], {"X-A": "a\r\nHost: b"})
    assert recorder.received == []


async def test_inputs_are_held_to_their_schemas_without_a_word_of_them(make: Make) -> None:
    schema = {"type": "integer", "minimum": 1}
    body = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string", "nullable": True}}}
    made = make(
        {
            "paths": {
                "/a": {
                    "post": {
                        "operationId": "ask",
                        "parameters": [one("n", "query", required=True, schema=schema)],
                        "requestBody": {"content": {"application/json": {"schema": body}}},
                    }
                }
            }
        }
    )
    inputs = made.actions["ask"].inputs

    inputs.model_validate({"n": 1, "body": {"name": None}})
    for given, said in (
        ({}, "n"),
        ({"n": 1, "m": 2}, "Extra inputs are not permitted"),
        ({"n": 0}, "must keep to its minimum of 1"),
        ({"n": "s3cr3t"}, "must be integer"),
        ({"n": 1, "body": {}}, "needs 'name'"),
        ({"n": 1, "body": {"name": ["s3cr3t"]}}, "name must be string"),
    ):
        with pytest.raises(ValueError, match=said) as raised:
            inputs.model_validate(given)
        assert "s3cr3t" not in "".join(fault["msg"] for fault in raised.value.errors(include_input=False))  # type: ignore[attr-defined]


BODIES: dict[str, Any] = {
    "json": {"application/json": {"schema": {}}, "text/plain": {}},
    "merge": {"application/merge-patch+json": {"schema": {}}},
    "form": {
        "application/x-www-form-urlencoded": {
            "schema": {"type": "object"},
            "encoding": {"metadata": {"style": "deepObject", "explode": True}},
        }
    },
    "multipart": {"multipart/form-data": {"schema": {"type": "object", "properties": {"it": {"format": "binary"}}}}},
    "text": {"text/csv": {"schema": {"type": "string"}}},
}


@pytest.fixture
async def bodies(make: Make, server: str) -> Any:
    paths = {f"/{name}": {"post": {"operationId": name, "requestBody": {"content": it}}} for name, it in BODIES.items()}
    async with ActionRunner(make({"servers": [{"url": server}], "paths": paths})) as runner:
        yield runner


async def test_bodies_are_of_the_kind_that_the_document_says(bodies: ActionRunner) -> None:
    file = await bodies.files.create(b"content", name="a.txt", content_type="text/plain")
    cases: list[tuple[str, Any, str, str]] = [
        ("json", {"a": [1, None]}, "application/json", '{"a":[1,null]}'),
        ("json", 0, "application/json", "0"),
        ("merge", {"a": None}, "application/merge-patch+json", '{"a":null}'),
        ("form", {"a": 1, "b": ["x", "y"], "c": None}, "application/x-www-form-urlencoded", "a=1&b=x&b=y"),
        (
            "form",
            {"metadata": {"a": {"b": [1, {"c": "d"}]}}},
            "application/x-www-form-urlencoded",
            "metadata%5Ba%5D%5Bb%5D%5B0%5D=1&metadata%5Ba%5D%5Bb%5D%5B1%5D%5Bc%5D=d",
        ),
        ("text", "a;b", "text/csv", "a;b"),
        ("text", file, "text/plain", "content"),
    ]
    for action, body, content_type, written in cases:
        seen = (await bodies.run(action, {"body": body})).load()
        assert seen["headers"]["content-type"].partition(";")[0] == content_type, action
        assert seen["body"] == written, action

    seen = (await bodies.run("multipart", {"body": {"it": file, "of": {"a": 1}}})).load()
    assert 'name="it"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\ncontent\r\n' in seen["body"]
    assert 'name="of"\r\n\r\n{"a": 1}\r\n' in seen["body"]


async def test_what_comes_back_is_the_output(make: Make, server: str, recorder: Recorder) -> None:
    recorder.on("/json", JSONResponse([1]))
    recorder.on("/text", PlainTextResponse("hello"))
    recorder.on("/none", Response(status_code=204))
    recorder.on("/file", Response(b"\x00\x01", media_type="image/png"))
    recorder.on("/fault", JSONResponse({"why": "no"}, status_code=422))
    paths = {f"/{name}": {"get": {"operationId": name}} for name in ("json", "text", "none", "file", "fault")}
    head = {"/json": {**paths["/json"], "head": {"operationId": "look"}}}
    async with ActionRunner(make({"servers": [{"url": server}], "paths": {**paths, **head}})) as runner:
        assert (await runner.run("json")).load() == [1]
        assert (await runner.run("text")).load() == "hello"
        assert (await runner.run("none")).load() is None
        assert (await runner.run("file")).load().size == 2
        assert (await runner.run("look")).load()["status"] == 200
        with pytest.raises(StepError, match="answered 422") as raised:
            await runner.run("fault")
        assert raised.value.kind == "http_422"


def test_effects_are_those_of_methods_and_of_keys(make: Make) -> None:
    key = [one("Idempotency-Key", "header", required=True)]
    item = {
        "get": {"operationId": "look"},
        "put": {"operationId": "put"},
        "delete": {"operationId": "remove"},
        "patch": {"operationId": "patch"},
        "post": {"operationId": "pay", "parameters": key},
    }
    made = make(
        {"paths": {"/a": item, "/b": {"post": {"operationId": "search"}}, "/c": {"post": {"operationId": "make"}}}},
        operations={"search": {"effect": "read"}, "POST /c": {"after_crash": "query", "name": "make_it"}},
    )

    found = {name: (action.worst.effect, action.worst.after_crash) for name, action in made.actions.items()}
    assert found == {
        "look": (Effect.READ, AfterCrash.NONE),
        "put": (Effect.EFFECT, AfterCrash.UPSERT),
        "remove": (Effect.EFFECT, AfterCrash.UPSERT),
        "patch": (Effect.EFFECT, AfterCrash.NONE),
        "pay": (Effect.EFFECT, AfterCrash.NATIVE),
        "search": (Effect.READ, AfterCrash.NONE),
        "make_it": (Effect.EFFECT, AfterCrash.QUERY),
    }
    assert made.actions["pay"].inputs.model_fields == {}


async def test_the_key_of_a_step_is_sent_where_the_api_takes_one(make: Make, server: str) -> None:
    paths = {"/a": {"post": {"operationId": "pay"}, "put": {"operationId": "put"}}}
    made = make({"servers": [{"url": server}], "paths": paths}, idempotency_header="Idempotency-Key")
    async with ActionRunner(made, idempotency_key="k" * 64) as runner:
        assert (await runner.run("pay")).load()["headers"]["idempotency-key"] == "k" * 64
        assert "idempotency-key" not in (await runner.run("put")).load()["headers"]


def test_only_what_is_asked_for_is_there(make: Make) -> None:
    document: dict[str, Any] = {"paths": {"/pets": {"get": {}, "post": {}}, "/pets/{id}": {"get": {}}}}

    assert set(make(document, only=["get_*", "create_pet"]).actions) == {"create_pet", "get_pet"}
    with pytest.raises(SettingsError, match=r"connectors\.shop\.operations\.lisst_pets: .* did you mean 'list_pets'"):
        make(document, operations={"lisst_pets": {"name": "all"}})


def test_two_of_one_name_have_their_places(make: Make) -> None:
    made = make(
        {"paths": {"/a/{id}": {"get": {"operationId": "ask", "parameters": [one("id", "path"), one("id", "query")]}}}}
    )

    assert [field.alias for field in made.actions["ask"].inputs.model_fields.values()] == ["path_id", "query_id"]


def test_a_document_of_openapi_2_is_the_same(make: Make) -> None:
    upload = [
        {"name": "id", "in": "path", "type": "integer", "required": True},
        {"name": "file", "in": "formData", "type": "file", "required": True, "description": "What it is."},
        {"name": "tags", "in": "query", "type": "array", "items": {"type": "string"}, "collectionFormat": "pipes"},
    ]
    made = make(
        {
            "swagger": "2.0",
            "host": "api.example.com",
            "basePath": "/v1",
            "paths": {
                "/pets/{id}/photo": {"post": {"parameters": upload, "responses": {}}},
                "/pets": {
                    "post": {
                        "parameters": [{"name": "pet", "in": "body", "schema": {"$ref": "#/definitions/Pet"}}],
                        "responses": {"201": {"schema": {"$ref": "#/definitions/Pet"}, "description": ""}},
                    }
                },
            },
            "definitions": {
                "Pet": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
            },
        }
    )

    schema = made.actions["photo_pet"].inputs.model_json_schema()
    assert schema["properties"]["body"]["properties"]["file"]["format"] == "binary"
    assert schema["required"] == ["id", "body"]
    with pytest.raises(ValueError, match="needs 'name'"):
        made.actions["create_pet"].inputs.model_validate({"body": {}})
    assert made.connections["none"]().base_url == "https://api.example.com/v1"  # type: ignore[attr-defined]


PETS: dict[str, Any] = {
    "externalDocs": {"url": "https://example.com/docs"},
    "info": {"title": "Pets", "version": "1", "description": "All pets."},
    "servers": [{"url": "https://api.example.com"}],
    "paths": {
        "/pets": {
            "get": {"summary": "List pets.", "responses": {"200": {"content": {"application/json": {"schema": {}}}}}}
        }
    },
    "components": {"securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-Key"}}},
    "security": [{"key": []}],
}


class TestOpenApi(ConnectorContract):
    @pytest.fixture
    def connector(self, make: Make) -> Connector:
        return make(json.loads(json.dumps(PETS)))

    @pytest.fixture
    def examples(self) -> dict[str, dict[str, Any]]:
        return {"list_pets": {}}
