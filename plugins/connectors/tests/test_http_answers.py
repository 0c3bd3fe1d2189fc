"""What `http.request` makes of answers: bodies, statuses, redirects, pages, and servers that misbehave."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from turnout.connectors import File, StepError, StepTimeout
from turnout.testing.connectors import ActionRunner
from turnout_connectors import transport
from turnout_connectors.http import connector
from turnout_connectors.http.connections import ApiKey, Bearer

from .servers import Recorder, raw_server


async def _fails(http: ActionRunner, inputs: Mapping[str, Any]) -> StepError:
    with pytest.raises(StepError) as failed:
        await http.run("request", inputs)
    return failed.value


async def test_json_is_passed_through_unparsed(http: ActionRunner, server: str, recorder: Recorder) -> None:
    text = json.dumps({"items": [{"n": number} for number in range(20_000)], "big": 2**70})
    recorder.on("/big", Response(text, media_type="application/vnd.api+json; charset=utf-8"))

    output = await http.run("request", {"url": f"{server}/big"})

    assert output.members()["json"].json == text.encode()
    assert output.load()["file"] is None


async def test_text_is_decoded_by_its_charset(http: ActionRunner, server: str, recorder: Recorder) -> None:
    recorder.on("/t", Response("größer".encode("latin-1"), headers={"content-type": "text/plain; charset=ISO-8859-1"}))

    output = (await http.run("request", {"url": f"{server}/t"})).load()

    assert (output["status"], output["text"], output["json"]) == (200, "größer", None)


@pytest.mark.parametrize(
    ("kind", "size"),
    [("application/pdf", 10), ("text/plain", 1024 * 1024 + 1), ("application/octet-stream", 3_000_000)],
)
async def test_binary_and_large_bodies_become_files(
    http: ActionRunner, server: str, recorder: Recorder, kind: str, size: int
) -> None:
    recorder.on("/a/report%20x.pdf", Response(b"x" * size, media_type=kind))
    recorder.answers["/a/report x.pdf"] = recorder.answers["/a/report%20x.pdf"]

    output = (await http.run("request", {"url": f"{server}/a/report%20x.pdf"})).load()

    assert isinstance(output["file"], File)
    assert (output["file"].size, output["file"].name, output["text"]) == (size, "report x.pdf", None)


async def test_a_files_name_is_content_dispositions_without_its_directories(
    http: ActionRunner, server: str, recorder: Recorder
) -> None:
    headers = {"content-disposition": "attachment; filename*=UTF-8''..%2F..%2Fetc%2Fb%C3%BCcher.bin"}
    recorder.on("/x", Response(b"x", headers=headers))

    output = (await http.run("request", {"url": f"{server}/x", "response": "file"})).load()

    assert output["file"].name == "bücher.bin"


async def test_no_content_is_nothing_at_all(http: ActionRunner, server: str, recorder: Recorder) -> None:
    recorder.on("/none", Response(status_code=204))

    output = (await http.run("request", {"method": "DELETE", "url": f"{server}/none"})).load()

    assert (output["status"], output["json"], output["text"], output["file"]) == (204, None, None, None)


async def test_an_answer_that_says_json_and_is_not_fails_the_step(
    http: ActionRunner, server: str, recorder: Recorder
) -> None:
    recorder.on("/x", Response("<html>", media_type="application/json"))

    error = await _fails(http, {"url": f"{server}/x"})

    assert (error.kind, error.retryable) == ("not_json", False)
    assert "/x: the answer is not JSON" in error.message


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(400, False), (404, False), (408, True), (409, False), (425, True), (429, True), (500, True), (503, True)],
)
async def test_a_status_that_is_not_expected_is_an_error_of_its_own_kind(
    http: ActionRunner, server: str, recorder: Recorder, status: int, retryable: bool
) -> None:
    recorder.on("/x", PlainTextResponse("because", status))

    error = await _fails(http, {"url": f"{server}/x?token=hidden"})

    assert (error.kind, error.retryable) == (f"http_{status}", retryable)
    assert error.details == {"status": status, "body": "because"}
    assert "hidden" not in str(error)


async def test_retry_after_is_understood_in_seconds_and_as_a_date(
    http: ActionRunner, server: str, recorder: Recorder
) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    recorder.on(
        "/x",
        Response(status_code=429, headers={"retry-after": "7"}),
        Response(status_code=503, headers={"retry-after": date}),
        Response(status_code=503, headers={"retry-after": "whenever"}),
    )

    waits = [(await _fails(http, {"url": f"{server}/x"})).retry_after_s for _ in range(3)]

    assert waits[0] == 7
    assert waits[1]
    assert 60 < waits[1] <= 90
    assert waits[2] is None


async def test_expected_statuses_are_a_success(http: ActionRunner, server: str, recorder: Recorder) -> None:
    recorder.on("/x", JSONResponse({"code": 7}, 404))

    output = (await http.run("request", {"url": f"{server}/x", "expect": ["2xx", 404]})).load()

    assert (output["status"], output["json"]) == (404, {"code": 7})


async def test_secrets_that_a_server_repeats_are_masked_in_the_error(server: str, recorder: Recorder) -> None:
    recorder.on("/x", PlainTextResponse("unknown token t0psecret", 401))

    async with ActionRunner(connector, connection=Bearer(token="t0psecret")) as http:
        error = await _fails(http, {"url": f"{server}/x"})

    assert "t0psecret" not in f"{error} {error.details}"
    assert "unknown token ***" in str(error)


async def test_a_redirect_elsewhere_takes_no_credentials_along(
    server: str, recorder: Recorder, elsewhere: str, elsewhere_recorder: Recorder
) -> None:
    recorder.on("/go", RedirectResponse(f"{elsewhere}/there"))

    async with ActionRunner(connector, connection=Bearer(token="of-the-erp")) as http:
        output = (
            await http.run("request", {"url": f"{server}/go", "headers": {"Cookie": "c=1", "X-Kept": "1"}})
        ).load()

    received = elsewhere_recorder.received[0]["headers"]
    assert "authorization" not in received
    assert "cookie" not in received
    assert received["x-kept"] == "1"
    assert output["url"] == f"{elsewhere}/there"


async def test_a_redirect_back_to_the_own_origin_is_authenticated(server: str, recorder: Recorder) -> None:
    recorder.on("/go", RedirectResponse("/target"))

    async with ActionRunner(connector, connection=ApiKey(key="k")) as http:
        await http.run("request", {"url": f"{server}/go"})

    assert recorder.received[1]["headers"]["x-api-key"] == "k"


@pytest.mark.parametrize(
    ("status", "method", "body"),
    [(301, "GET", ""), (302, "GET", ""), (303, "GET", ""), (307, "POST", "b" * 300_000), (308, "POST", "b" * 300_000)],
)
async def test_a_redirected_post_keeps_or_drops_its_body_by_the_status(
    http: ActionRunner, server: str, recorder: Recorder, status: int, method: str, body: str
) -> None:
    recorder.on("/go", Response(status_code=status, headers={"location": "/target"}))
    file = await http.files.create(b"b" * 300_000)

    await http.run("request", {"method": "POST", "url": f"{server}/go", "body": file})

    assert (recorder.received[1]["method"], recorder.received[1]["body"]) == (method, body)
    assert ("content-type" in recorder.received[1]["headers"]) == bool(body)


@pytest.mark.parametrize("target", ["ftp://host/x", "file:///etc/passwd", "http://user:pw@host/"])
async def test_a_redirect_to_where_nothing_may_go_is_refused(
    http: ActionRunner, server: str, recorder: Recorder, target: str
) -> None:
    recorder.on("/go", Response(status_code=302, headers={"location": target}))

    error = await _fails(http, {"url": f"{server}/go"})

    assert (error.kind, error.retryable) == ("redirect_refused", False)


async def test_redirects_without_end_are_an_error(http: ActionRunner, server: str, recorder: Recorder) -> None:
    recorder.on("/loop", RedirectResponse("/loop"))

    error = await _fails(http, {"url": f"{server}/loop"})

    assert error.kind == "too_many_redirects"
    assert len(recorder.received) == 11


async def test_redirects_are_left_alone_where_the_step_says_so(
    http: ActionRunner, server: str, recorder: Recorder
) -> None:
    recorder.on("/go", RedirectResponse("/target"))

    output = (await http.run("request", {"url": f"{server}/go", "follow_redirects": False})).load()

    assert (output["status"], output["headers"]["location"]) == (307, "/target")


async def test_gzip_is_undone_and_a_bomb_is_not(
    http: ActionRunner, server: str, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_BOMB_BYTES", 1024 * 1024)
    packed = {"content-encoding": "gzip", "content-type": "application/json"}
    recorder.on("/fine", Response(gzip.compress(b'{"a": 1}'), headers=packed))
    recorder.on("/bomb", Response(gzip.compress(b" " * 50_000_000), headers=packed))
    recorder.on("/short", Response(gzip.compress(b"[1, 2, 3]" * 100)[:-12], headers=packed))

    assert (await http.run("request", {"url": f"{server}/fine"})).load()["json"] == {"a": 1}
    assert (await _fails(http, {"url": f"{server}/bomb"})).kind == "response_too_large"
    assert (await _fails(http, {"url": f"{server}/short"})).kind == "content_coding"


async def test_an_answer_of_unknown_length_is_cut_off_at_the_cap(
    http: ActionRunner, server: str, recorder: Recorder
) -> None:
    async def long() -> AsyncIterator[bytes]:
        for _ in range(400):
            yield b"x" * 65536

    recorder.answers["/long"] = lambda request: StreamingResponse(long())

    error = await _fails(http, {"url": f"{server}/long", "max_bytes": 1_000_000})

    assert (error.kind, error.retryable) == ("response_too_large", False)


async def test_a_server_that_says_nothing_times_out(http: ActionRunner) -> None:
    async with raw_server(b"", hang=True) as url:
        with pytest.raises(StepTimeout) as failed:
            await http.run("request", {"url": f"{url}/slow?key=hidden", "timeout": "50ms"})

    assert failed.value.retryable
    assert "hidden" not in str(failed.value)


async def test_the_time_that_the_step_has_left_bounds_the_exchange(http: ActionRunner) -> None:
    http.remaining_s = 0.05

    async with raw_server(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", hang=True) as url:
        with pytest.raises(StepTimeout):
            await http.run("request", {"url": url, "timeout": 60})


@pytest.mark.parametrize(
    "answer",
    [b"", b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\ncontent-type: text/plain\r\n\r\nhalf"],
)
async def test_a_connection_that_breaks_can_be_retried(http: ActionRunner, answer: bytes) -> None:
    async with raw_server(answer) as url:
        error = await _fails(http, {"method": "POST", "url": f"{url}/?key=hidden"})

    assert (error.kind, error.retryable) == ("connection", True)
    assert "hidden" not in str(error)


async def test_a_host_that_refuses_or_does_not_exist_can_be_retried(http: ActionRunner) -> None:
    refusing = await _fails(http, {"url": "http://127.0.0.1:1/"})
    unknown = await _fails(http, {"url": "http://no-such-host.invalid/"})

    assert (refusing.kind, unknown.kind) == ("connection", "connection")
    assert "cannot be resolved" in str(unknown)


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.170.2",
        "[fe80::1]",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "[fd00:ec2::254]",
    ],
)
async def test_the_clouds_metadata_addresses_are_refused_in_every_spelling(http: ActionRunner, host: str) -> None:
    error = await _fails(http, {"url": f"http://{host}/latest/meta-data"})

    assert (error.kind, error.retryable) == ("address_refused", False)


async def test_pages_are_followed_by_link_header(http: ActionRunner, server: str, recorder: Recorder) -> None:
    for number in (1, 2, 3):
        following = {"link": f'</p{number + 1}?a=b>; rel="next", </p1>; rel="first"'} if number < 3 else {}
        recorder.on(f"/p{number}", JSONResponse([number * 10, 2**60 + number], headers=following))

    output = (await http.run("request", {"url": f"{server}/p1", "paginate": {"by": "link"}})).load()

    assert output["json"] == [10, 2**60 + 1, 20, 2**60 + 2, 30, 2**60 + 3]
    assert output["pages"] == 3


async def test_pages_are_followed_by_a_url_in_the_body_without_taking_credentials_elsewhere(
    server: str, recorder: Recorder, elsewhere: str, elsewhere_recorder: Recorder
) -> None:
    recorder.on("/p1", JSONResponse({"data": {"rows": [1]}, "links": {"next": f"{elsewhere}/p2"}}))
    elsewhere_recorder.on("/p2", JSONResponse({"data": {"rows": [2]}, "links": {"next": None}}))

    async with ActionRunner(connector, connection=Bearer(token="of-the-erp")) as http:
        paginate = {"by": "next_url", "items": "data.rows", "next": "links.next"}
        output = (await http.run("request", {"url": f"{server}/p1", "paginate": paginate})).load()

    assert output["json"] == [1, 2]
    assert "authorization" not in elsewhere_recorder.received[0]["headers"]


async def test_pages_are_counted_until_one_is_empty(http: ActionRunner, server: str, recorder: Recorder) -> None:
    recorder.on("/p", JSONResponse({"items": ["a"]}), JSONResponse({"items": ["b"]}), JSONResponse({"items": []}))

    paginate = {"by": "page", "items": "items", "parameter": "page"}
    output = (await http.run("request", {"url": f"{server}/p", "query": {"size": 1}, "paginate": paginate})).load()

    assert output["json"] == ["a", "b"]
    assert [seen["query"] for seen in recorder.received] == ["size=1&page=1", "size=1&page=2", "size=1&page=3"]


async def test_pages_are_followed_by_cursor(http: ActionRunner, server: str, recorder: Recorder) -> None:
    recorder.on("/p", JSONResponse({"items": ["a"], "cursor": "c=1&x"}), JSONResponse({"items": ["b"], "cursor": ""}))

    paginate = {"by": "cursor", "items": "items", "next": "cursor", "parameter": "after"}
    output = (await http.run("request", {"url": f"{server}/p", "paginate": paginate})).load()

    assert output["json"] == ["a", "b"]
    assert recorder.received[1]["query"] == "after=c%3D1%26x"


async def test_pages_that_go_round_or_have_no_end_are_an_error(
    http: ActionRunner, server: str, recorder: Recorder
) -> None:
    recorder.on("/round", JSONResponse([1], headers={"link": '</round>; rel="next"'}))
    recorder.on("/many", JSONResponse({"items": [1]}))
    many = {"by": "page", "items": "items", "parameter": "page", "max_pages": 3}

    round_error = await _fails(http, {"url": f"{server}/round", "paginate": {"by": "link"}})
    many_error = await _fails(http, {"url": f"{server}/many", "paginate": many})
    stopped = (await http.run("request", {"url": f"{server}/many", "paginate": {**many, "beyond": "stop"}})).load()

    assert round_error.kind == "pagination_loop"
    assert many_error.kind == "too_many_pages"
    assert stopped["json"] == [1, 1, 1]
