"""Documents as files have them, hostile ones among them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from turnout.errors import SettingsError, UserError
from turnout_connectors.openapi.document import parse, read
from turnout_connectors.openapi.source import OpenApiSource

HEAD = "openapi: 3.0.0\ninfo: {title: t, version: '1'}\n"


def test_yaml_is_that_of_openapi() -> None:
    text = (
        "openapi: 3.1.0\npaths:\n  /a:\n    get:\n      responses:\n        200: {description: since 2020-01-01}\n"
        "x-land: no\nx-day: 2020-01-01\nx-yes: true\nx-number: 0x10\n"
    )

    data = parse(text.encode(), "a.yaml").data

    assert data["paths"]["/a"]["get"]["responses"] == {"200": {"description": "since 2020-01-01"}}
    assert (data["x-land"], data["x-day"], data["x-yes"], data["x-number"]) == ("no", "2020-01-01", True, 16)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "a:1: it is no JSON"),
        ("openapi: 3.0.0\npaths: [", "a:3: it is no YAML"),
        ("a: b: c", "a:1: it is no YAML"),
        ("- 1", "an OpenAPI document is an object"),
        ("info: {}", "no `openapi` and no `swagger`"),
        ("openapi: 4.0.0", "version '4.0.0': OpenAPI 2.0, 3.0 and 3.1 are understood"),
        ("swagger: 1.2", "version '1.2'"),
        (f"{HEAD}a: !!python/object/apply:os.system [true]", "a:3: it is no YAML: could not determine a constructor"),
        (f"{HEAD}a: &a [*a]", "nested more than 200 deep, or has an alias inside"),
        (f"{HEAD}a: {'[' * 300}{']' * 300}", "nested more than 200 deep"),
        ('{"openapi": "3.0.0", "a": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        (
            HEAD
            + "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
            + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)),
            "more than 5,000,000 parts, or aliases that make as many",
        ),
        (
            HEAD + 'paths: {/a: {$ref: "other.yaml#/paths/a"}}',
            "references that leave the document: make one document of it first .*\n  paths./a: other.yaml#/paths/a",
        ),
        (HEAD + 'a: {$ref: "http://169.254.169.254/latest"}', "references that leave the document"),
        (HEAD + 'a: {$ref: "file:///etc/passwd"}', "references that leave the document"),
    ],
)
def test_what_is_no_document_is_refused_with_what_and_where(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse(text.encode(), "a")


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(UserError, match="a: it is not UTF-8 text"):
        parse(b"\xff\xfe", "a")


def test_an_example_may_have_a_reference_in_it() -> None:
    text = HEAD + 'components: {schemas: {A: {type: object, example: {"$ref": "https://example.com"}}}}'

    assert parse(text.encode(), "a").version == "3.0"


def test_references_are_followed_and_never_in_a_circle() -> None:
    document = parse(
        json.dumps(
            {
                "openapi": "3.0.0",
                "paths": {"/a b~c": {"get": {"operationId": "found"}}},
                "circle": {"$ref": "#/other"},
                "other": {"$ref": "#/circle"},
            }
        ).encode(),
        "a",
    )

    assert document.resolve({"$ref": "#/paths/~1a%20b~0c/get"}, ())["operationId"] == "found"
    for reference, said in (
        ("#/circle", "in a circle"),
        ("#/nowhere", "which there is not"),
        ("#/openapi", "an object"),
    ):
        with pytest.raises(UserError, match=said):
            document.resolve({"$ref": reference}, ("here",))


def test_a_schema_within_itself_is_one(tmp_path: Path, make: Any) -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/components/schemas/Node"}, "n": {"type": "integer"}}}
    body = {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Node"}}}}
    made = make({"paths": {"/a": {"post": {"requestBody": body}}}, "components": {"schemas": {"Node": node}}})

    inputs = made.actions["create_a"].inputs
    deep: dict[str, Any] = {"n": 1}
    for _ in range(30):
        deep = {"next": deep}
    inputs.model_validate({"body": deep})
    with pytest.raises(ValueError, match=r"next\.next\.n must be integer"):
        inputs.model_validate({"body": {"next": {"next": {"n": "x"}}}})
    assert inputs.model_json_schema()["$defs"]["Node"]["properties"]["next"] == {"$ref": "#/$defs/Node"}


def test_a_file_that_is_not_there_is_the_settings_fault(tmp_path: Path) -> None:
    options = OpenApiSource.Options(document="connectors/gone.json")

    with pytest.raises(
        SettingsError, match=r"connectors\.shop\.document: connectors/gone\.json: it cannot be read: No such"
    ):
        OpenApiSource.connector("shop", options, tmp_path)


@pytest.mark.parametrize(
    "document", ["pets.json", "/etc/passwd", "connectors/../../pets.json", "../connectors/pets.json"]
)
def test_a_document_is_where_it_is_packaged(document: str) -> None:
    with pytest.raises(ValueError, match="must be a file in the project's directory connectors/"):
        OpenApiSource.Options(document=document)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(65 * 1024 * 1024)

    with pytest.raises(UserError, match="larger than 64 MiB"):
        read(tmp_path / "large.json")


def test_a_document_is_taken_into_the_project(tmp_path: Path) -> None:
    given = tmp_path / "elsewhere" / "Pets.yaml"
    given.parent.mkdir()
    given.write_text(HEAD + "paths: {/pets: {get: {responses: {}}}}\n")
    root = tmp_path / "project"

    assert OpenApiSource.declare("pets", str(given), root) == {"document": "connectors/pets.yaml"}
    assert (root / "connectors" / "pets.yaml").read_text() == given.read_text()
    assert OpenApiSource.declare("pets", str(root / "connectors" / "pets.yaml"), root)

    given.write_text(HEAD + "paths: {}\n")
    with pytest.raises(UserError, match="it has no operations"):
        OpenApiSource.declare("none", str(given), root)
    assert not (root / "connectors" / "none.yaml").exists()


def test_a_schema_is_shown_whole_with_all_names_that_it_has(make: Any) -> None:
    schemas = {
        "Pet": {
            "type": "object",
            "nullable": True,
            "x-internal": 1,
            "properties": {
                "example": {"type": "string", "example": "e"},
                "x-size": {"type": "number", "minimum": 0, "exclusiveMinimum": True},
                "deprecated": {"$ref": "#/components/parameters/Pet"},
            },
        },
    }
    # A chain that is longer than what is shown, and deeper than Python's stack if it were followed at once.
    schemas |= {f"S{n}": {"properties": {"next": {"$ref": f"#/components/schemas/S{n + 1}"}}} for n in range(2000)}
    body = {"content": {"application/json": {"schema": {"properties": {"pet": {"$ref": "#/components/schemas/Pet"}}}}}}
    chain = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/S0"}}}}
    components = {"schemas": schemas, "parameters": {"Pet": {"type": "boolean"}}}
    made = make(
        {
            "paths": {"/pet": {"put": {"requestBody": body}}, "/chain": {"put": {"requestBody": chain}}},
            "components": components,
        }
    )

    shown = made.actions["replace_pet"].inputs.model_json_schema()
    assert shown["$defs"] == {
        "Pet": {
            "type": ["object", "null"],
            "properties": {
                "example": {"type": "string"},
                "x-size": {"type": "number", "exclusiveMinimum": 0},
                "deprecated": {"$ref": "#/$defs/components.parameters.Pet"},
            },
        },
        "components.parameters.Pet": {"type": "boolean"},
    }
    chained = made.actions["replace_chain"].inputs.model_json_schema()["$defs"]
    assert len(chained) == 200
    assert any("$comment" in one["properties"]["next"] for one in chained.values())
