"""Connection types, from security schemes and servers; pages, from what the document lets one guess."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.responses import JSONResponse
from turnout.connectors import OAuth2
from turnout.errors import SettingsError
from turnout.testing.connectors import ActionRunner

from ..servers import Recorder
from .conftest import Make

ASK: dict[str, Any] = {"/a": {"get": {"operationId": "ask"}}}


def secured(schemes: dict[str, Any], security: list[Any], **more: Any) -> dict[str, Any]:
    return {"paths": ASK, "components": {"securitySchemes": schemes}, "security": security, **more}


@pytest.mark.parametrize(
    ("scheme", "fields", "header", "value"),
    [
        ({"type": "http", "scheme": "bearer"}, {"token": "t"}, "authorization", "Bearer t"),
        ({"type": "http", "scheme": "Basic"}, {"username": "u", "password": "p"}, "authorization", "Basic dTpw"),
        ({"type": "apiKey", "in": "header", "name": "X-Key"}, {"key": "k"}, "x-key", "k"),
        ({"type": "apiKey", "in": "cookie", "name": "sid"}, {"key": "k"}, "cookie", "sid=k"),
        (
            {"type": "openIdConnect", "openIdConnectUrl": "https://a.example"},
            {"token": "t"},
            "authorization",
            "Bearer t",
        ),
        ({"type": "oauth2", "flows": {"implicit": {"scopes": {}}}}, {"token": "t"}, "authorization", "Bearer t"),
    ],
)
async def test_a_scheme_is_a_connection_type(
    make: Make, server: str, scheme: dict[str, Any], fields: dict[str, str], header: str, value: str
) -> None:
    made = make(secured({"theirWay": scheme}, [{"theirWay": []}], servers=[{"url": server}]))
    assert made.connection_required
    connection = made.connections["their_way"](**fields)

    async with ActionRunner(made, connection=connection) as runner:
        assert (await runner.run("ask")).load()["headers"][header] == value
    assert connection.hosts() == (server.removeprefix("http://"),)
    assert set(fields.values()) & set(connection.secrets())


async def test_a_key_in_the_query_and_two_at_once(make: Make, server: str) -> None:
    schemes = {
        "apiKey": {"type": "apiKey", "in": "query", "name": "api_key"},
        "appKey": {"type": "apiKey", "in": "header", "name": "DD-APPLICATION-KEY"},
    }
    made = make(secured(schemes, [{"apiKey": [], "appKey": []}], servers=[{"url": server}]))
    kind: Any = made.connections["api_key_and_app_key"]
    connection = kind(api_key="a", app_key="b")

    async with ActionRunner(made, connection=connection) as runner:
        seen = (await runner.run("ask")).load()
    assert seen["query"] == "api_key=a"
    assert seen["headers"]["dd-application-key"] == "b"


def test_oauth_is_an_account_at_the_documents_provider(make: Make) -> None:
    flows = {
        "authorizationCode": {
            "authorizationUrl": "https://login.example.com/authorize",
            "tokenUrl": "/token",
            "scopes": {"read": "", "write": ""},
        },
        "clientCredentials": {"tokenUrl": "https://login.example.com/token", "scopes": {}},
    }
    made = make(
        secured(
            {"login": {"type": "oauth2", "flows": flows}},
            [{"login": ["read"]}],
            servers=[{"url": "https://api.example.com/v1"}],
        )
    )

    account, client = made.connections["login_account"], made.connections["login_client"]
    assert issubclass(account, OAuth2)
    assert issubclass(client, OAuth2)
    provider = account.provider_of({"scopes": "read"})
    assert (provider.token_url, provider.scopes) == ("https://api.example.com/token", ("read",))
    assert account.provider_of({}).scopes == ("read", "write")
    assert account.shares_client()
    assert client.provider_of({}).authorization_url == ""
    made_one: Any = account
    assert made_one(access_token="t").headers() == (("Authorization", "Bearer t"),)


def test_what_cannot_be_used_leaves_the_other_ways(make: Make) -> None:
    schemes = {"tls": {"type": "mutualTLS"}, "key": {"type": "apiKey", "in": "header", "name": "K"}}

    assert set(make(secured(schemes, [{"tls": []}, {"key": []}])).connections) == {"key"}
    with pytest.raises(SettingsError, match=r"security\.other: there is no security scheme of this name"):
        make(secured(schemes, [{"other": []}]))


def test_a_way_without_credentials_needs_no_connection(make: Make) -> None:
    key = {"key": {"type": "apiKey", "in": "header", "name": "K"}}

    assert not make(secured(key, [{}, {"key": []}], servers=[{"url": "https://a.example"}])).connection_required
    usual = make({"paths": ASK, "servers": [{"url": "https://a.example"}]})
    assert set(usual.connections) == {"bearer", "basic", "none"}
    assert not usual.connection_required


def test_parts_of_an_address_are_fields(make: Make) -> None:
    variables = {"region": {"default": "eu", "enum": ["eu", "us"]}, "sub-domain": {"default": ""}}
    servers = [{"url": "/relative"}, {"url": "https://{sub-domain}.{region}.example.com/v2", "variables": variables}]
    made = make({"paths": ASK, "servers": servers})
    kind: Any = made.connections["bearer"]

    assert kind(token="t", sub_domain="acme").base_url == "https://acme.eu.example.com/v2"
    assert kind(token="t", sub_domain="acme", region="us").hosts() == ("acme.us.example.com",)
    assert kind(token="t", base_url="https://proxy.example").base_url == "https://proxy.example"
    for evil in ("evil.example/x?", "evil.example:80#", "a@evil.example", "evil.example\\"):
        with pytest.raises(ValueError, match="should match pattern"):
            kind(token="t", sub_domain=evil)
    with pytest.raises(ValueError, match="base_url must be set, or"):
        kind(token="t")
    with pytest.raises(ValueError, match="'eu' or 'us'"):
        kind(token="t", sub_domain="acme", region="mars")


def listing(answer: Any, *parameters: str, **response: Any) -> dict[str, Any]:
    listed = [{"name": name, "in": "query", "schema": {}} for name in parameters]
    responses = {"200": {"description": "", "content": {"application/json": {"schema": answer}}, **response}}
    return {"/a": {"get": {"operationId": "ask", "parameters": listed, "responses": responses}}}


ITEMS = {"type": "array", "items": {}}


def around(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"items": ITEMS, **properties}}


@pytest.mark.parametrize(
    ("paths", "pages"),
    [
        (
            listing(around(next_cursor={"type": "string"}), "cursor"),
            {"": {"items": [1], "next_cursor": "b"}, "cursor=b": {"items": [2], "next_cursor": ""}},
        ),
        (
            listing(around(meta={"type": "object", "properties": {"nextPageToken": {"type": "string"}}}), "pageToken"),
            {"": {"items": [1], "meta": {"nextPageToken": "b"}}, "pageToken=b": {"items": [2], "meta": {}}},
        ),
        (
            listing(around(**{"@odata.nextLink": {"type": "string"}})),
            {"": {"items": [1], "@odata.nextLink": "/a?x=2"}, "x=2": {"items": [2]}},
        ),
        (listing(ITEMS, "page"), {"": [1], "page=1": [1], "page=2": [2], "page=3": []}),
    ],
)
async def test_all_pages_are_one_list(
    make: Make, server: str, recorder: Recorder, paths: dict[str, Any], pages: dict[str, Any]
) -> None:
    recorder.answers["/a"] = lambda request: JSONResponse(pages[request.url.query])
    made = make({"servers": [{"url": server}], "paths": paths})

    async with ActionRunner(made) as runner:
        assert (await runner.run("ask", {"all_pages": True})).load() == [1, 2]
        assert (await runner.run("ask")).load() == pages[""]


async def test_pages_are_found_by_the_link_header(make: Make, server: str, recorder: Recorder) -> None:
    first = JSONResponse([1], headers={"link": '</b>; rel="next"'})
    recorder.on("/a", first)
    recorder.on("/b", JSONResponse([2]))
    made = make({"servers": [{"url": server}], "paths": listing(ITEMS, headers={"Link": {"schema": {}}})})

    async with ActionRunner(made) as runner:
        assert (await runner.run("ask", {"all_pages": True})).load() == [1, 2]


def test_what_says_nothing_of_pages_has_none_unless_it_is_told(make: Make) -> None:
    document = {"paths": listing(around(), "offset")}

    assert "all_pages" not in make(document).actions["ask"].inputs.model_fields
    told = {"pagination": {"by": "page", "items": "items", "parameter": "offset"}}
    assert "all_pages" in make(document, operations={"ask": told}).actions["ask"].inputs.model_fields
    paged = {"paths": listing(ITEMS, "page")}
    assert "all_pages" not in make(paged, operations={"ask": {"pagination": False}}).actions["ask"].inputs.model_fields
