"""What `http.request` sends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from starlette.responses import JSONResponse
from turnout.connectors import AfterCrash, ConnectionType, Effect, StepError
from turnout.testing.connectors import ActionRunner
from turnout_connectors.http import connector
from turnout_connectors.http.connections import ApiKey, Basic, Bearer, NoCredentials

from .servers import Recorder


async def test_a_json_body_arrives_as_it_was_given_and_the_receipt_comes_back(
    http: ActionRunner, server: str, recorder: Recorder
) -> None:
    recorder.on("/orders", JSONResponse({"receipt": 12345678901234567890123}))

    output = await http.run(
        "request", {"method": "post", "url": f"{server}/orders", "json": {"total": 10**30, "ü": None}}
    )

    assert json.loads(recorder.received[0]["body"].encode("latin-1")) == {"total": 10**30, "ü": None}
    assert recorder.received[0]["headers"]["content-type"] == "application/json"
    assert output.load()["json"]["receipt"] == 12345678901234567890123


async def test_a_form_and_a_query_repeat_lists_and_leave_nulls_out(
    http: ActionRunner, server: str, recorder: Recorder
) -> None:
    await http.run(
        "request",
        {
            "method": "POST",
            "url": f"{server}/form?fixed=1",
            "query": {"tag": ["a", "b&c"], "none": None, "yes": True},
            "form": {"name": "Müller", "n": [1, 2]},
        },
    )

    assert recorder.received[0]["query"] == "fixed=1&tag=a&tag=b%26c&yes=true"
    assert recorder.received[0]["body"] == "name=M%C3%BCller&n=1&n=2"
    assert recorder.received[0]["headers"]["content-type"] == "application/x-www-form-urlencoded"


async def test_multipart_streams_files_beside_fields_with_a_known_length(
    http: ActionRunner, server: str, recorder: Recorder
) -> None:
    large = await http.files.create(b"x" * 400_000, name='odd"\r\nname.bin', content_type="application/x-odd")

    await http.run("request", {"method": "POST", "url": f"{server}/up", "multipart": {"title": "T", "file": large}})

    received = recorder.received[0]
    assert received["headers"]["content-length"] == str(len(received["body"]))
    assert 'name="title"\r\n\r\nT\r\n' in received["body"]
    assert 'filename="odd%22%0D%0Aname.bin"\r\nContent-Type: application/x-odd\r\n\r\nxxx' in received["body"]
    assert received["body"].count("x" * 400_000) == 1


async def test_a_file_is_the_whole_body_with_its_own_type(http: ActionRunner, server: str, recorder: Recorder) -> None:
    file = await http.files.create(b"a,b\r\n" * 100_000, name="t.csv", content_type="text/csv")

    await http.run("request", {"method": "PUT", "url": f"{server}/t.csv", "body": file})

    assert recorder.received[0]["headers"]["content-type"] == "text/csv"
    assert recorder.received[0]["headers"]["content-length"] == "500000"
    assert recorder.received[0]["body"] == "a,b\r\n" * 100_000


async def test_a_file_inside_json_is_refused_with_its_place(http: ActionRunner, server: str) -> None:
    file = await http.files.create(b"x")

    with pytest.raises(StepError, match="/a/0") as refused:
        await http.run("request", {"method": "POST", "url": server, "json": {"a": [file]}})

    assert refused.value.kind == "input"


@pytest.mark.parametrize(
    ("connection", "header", "value"),
    [
        (Bearer(token="t0ken"), "authorization", "Bearer t0ken"),
        (Basic(username="Aladdin", password="open sesame"), "authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        (ApiKey(key="k"), "x-api-key", "k"),
        (ApiKey(key="k", name="X-Other"), "x-other", "k"),
    ],
)
async def test_a_connection_puts_its_credentials_into_a_header(
    server: str, recorder: Recorder, connection: ConnectionType, header: str, value: str
) -> None:
    async with ActionRunner(connector, connection=connection) as http:
        await http.run("request", {"url": server})

    assert recorder.received[0]["headers"][header] == value


async def test_an_api_key_in_the_query_is_sent_and_not_shown(server: str, recorder: Recorder) -> None:
    recorder.on("/fails", JSONResponse({"seen": "k3y-value"}, 400))
    connection = ApiKey.model_validate({"key": "k3y-value", "name": "api_key", "in": "query"})

    async with ActionRunner(connector, connection=connection) as http:
        output = (await http.run("request", {"url": f"{server}/?a=1"})).load()
        with pytest.raises(StepError) as failed:
            await http.run("request", {"url": f"{server}/fails"})

    assert recorder.received[0]["query"] == "a=1&api_key=k3y-value"
    assert output["url"] == f"{server}/?a=1"
    assert "k3y-value" not in f"{failed.value} {failed.value.details}"


async def test_relative_urls_are_appended_to_the_base_url(server: str, recorder: Recorder) -> None:
    async with ActionRunner(connector, connection=NoCredentials(base_url=f"{server}/api/v1/")) as http:
        await http.run("request", {"url": "/orders?x=1"})
        await http.run("request", {"url": "orders/2"})

    assert [(seen["path"], seen["query"]) for seen in recorder.received] == [
        ("/api/v1/orders", "x=1"),
        ("/api/v1/orders/2", ""),
    ]


async def test_credentials_go_to_the_origin_of_the_base_url_alone(
    server: str, recorder: Recorder, elsewhere: str, elsewhere_recorder: Recorder
) -> None:
    async with ActionRunner(connector, connection=Bearer(token="t", base_url=server)) as http:
        await http.run("request", {"url": "/here"})
        await http.run("request", {"url": f"{elsewhere}/there"})

    assert recorder.received[0]["headers"]["authorization"] == "Bearer t"
    assert "authorization" not in elsewhere_recorder.received[0]["headers"]


async def test_the_idempotency_key_goes_into_the_header_that_the_step_names(
    http: ActionRunner, server: str, recorder: Recorder
) -> None:
    inputs = {"method": "POST", "url": server, "idempotency_header": "Idempotency-Key"}

    await http.run("request", inputs)
    await http.run("request", inputs, attempt=2)

    keys = {seen["headers"]["idempotency-key"] for seen in recorder.received}
    assert keys == {http.idempotency_key}


async def test_cookies_of_one_execution_are_not_sent_by_the_next(
    http: ActionRunner, server: str, recorder: Recorder
) -> None:
    answer = JSONResponse({})
    answer.set_cookie("session", "of-somebody")
    recorder.on("/login", answer)

    await http.run("request", {"url": f"{server}/login"})
    await http.run("request", {"url": f"{server}/next"})

    assert "cookie" not in recorder.received[1]["headers"]


@pytest.mark.parametrize(
    ("inputs", "effect", "after_crash"),
    [
        ({"method": "GET"}, Effect.READ, AfterCrash.NONE),
        ({"method": "head"}, Effect.READ, AfterCrash.NONE),
        ({"method": "OPTIONS"}, Effect.READ, AfterCrash.NONE),
        ({"method": "PUT"}, Effect.EFFECT, AfterCrash.UPSERT),
        ({"method": "DELETE"}, Effect.EFFECT, AfterCrash.UPSERT),
        ({"method": "POST"}, Effect.EFFECT, AfterCrash.NONE),
        ({"method": "PATCH"}, Effect.EFFECT, AfterCrash.NONE),
        ({"method": "POST", "idempotency_header": "Idempotency-Key"}, Effect.EFFECT, AfterCrash.NATIVE),
        ({"method": "PROPFIND"}, Effect.EFFECT, AfterCrash.NONE),
    ],
)
def test_what_a_method_does_is_declared_by_rfc_9110(
    inputs: Mapping[str, Any], effect: Effect, after_crash: AfterCrash
) -> None:
    declared = ActionRunner(connector).effects("request", {"url": "http://x", **inputs})

    assert (declared.effect, declared.after_crash) == (effect, after_crash)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"url": "/relative"}, "no base_url"),
        ({"url": "ftp://host/file"}, "only http:// and https://"),
        ({"url": "file:///etc/passwd"}, "only http:// and https://"),
        ({"url": "http://user:pa55@host/"}, "type basic"),
        ({"url": "http://h", "method": "TRACE"}, "not a method"),
        ({"url": "http://h", "method": "GET /x HTTP/1.1\r\nX"}, "not a method"),
        ({"url": "http://h", "headers": {"X": "a\r\nY: b"}}, "control character"),
        ({"url": "http://h", "headers": {"Transfer-Encoding": "chunked"}}, "cannot be set"),
        ({"url": "http://h", "json": {}, "body": "x"}, "keep one"),
        ({"url": "http://h", "timeout": "soon"}, "not a duration"),
        ({"url": "http://h", "method": "POST", "paginate": {"by": "link"}}, "paginate is for GET"),
        ({"url": "http://h", "paginate": {"by": "cursor", "next": "c"}}, "`parameter` is needed"),
        ({"url": "http://h", "paginate": {"by": "next_url", "next": "[["}}, "not a JMESPath"),
        ({"url": "http://h", "hedaers": {}}, "hedaers"),
    ],
)
async def test_inputs_that_do_not_hold_are_refused_before_anything_is_sent(
    http: ActionRunner, inputs: Mapping[str, Any], said: str
) -> None:
    with pytest.raises(StepError) as refused:
        await http.run("request", inputs)

    assert said in str(refused.value)
    assert "pa55" not in str(refused.value)
    assert (refused.value.kind, refused.value.retryable) == ("input", False)


@pytest.mark.parametrize("token", ["a\nb", "a b", "", "tök"])
def test_a_token_that_cannot_stand_in_a_header_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(ValueError, match="visible ASCII") as refused:
        Bearer(token=token)

    assert not token or token not in str(refused.value)


@pytest.mark.parametrize("url", ["ftp://x", "https://u:p@x", "https://x?a=1", "nothing"])
def test_a_base_url_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must"):
        NoCredentials(base_url=url)
