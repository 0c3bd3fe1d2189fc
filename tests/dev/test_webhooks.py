"""Webhooks of `turnout dev`, as a process: what is answered, what flows see, what cannot be asked."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.dev.commands import Dev

BIG = 123456789012345678901234567890


def test_a_webhook_is_accepted_with_an_id_and_where_to_follow_it(desk: Dev) -> None:
    answer = desk.post("count", wait="")

    assert answer.status_code == 202
    execution = answer.json()["execution"]
    assert answer.headers["location"] == f"/api/v1/executions/{execution}"
    record = desk.record(execution)
    assert (record["status"], record["flow"], record["instance"]) == ("succeeded", "count", "desk")


def test_the_output_is_the_answer_when_the_caller_waits(desk: Dev) -> None:
    answer = desk.post("body", json={"order": 7})

    assert (answer.status_code, answer.json()) == (200, {"order": 7})
    assert desk.record(answer.headers["turnout-execution"])["status"] == "succeeded"


def test_a_failure_is_answered_with_its_error(desk: Dev) -> None:
    answer = desk.post("fail")

    assert answer.status_code == 500
    said = answer.json()
    assert said == {
        "execution": said["execution"],
        "status": "failed",
        "error": {"kind": "stopped", "message": "this never works"},
    }


def test_what_takes_longer_than_the_caller_waits_is_followed_at_its_record(desk: Dev) -> None:
    answer = desk.post("slow", wait="100ms")

    assert answer.status_code == 303
    record = desk.record(answer.headers["location"].rpartition("/")[2])
    assert (record["status"], record["output"]) == ("succeeded", "done")


@pytest.mark.parametrize(
    ("content_type", "content", "seen"),
    [
        ("application/json", b'{"n": %d, "text": "\xc3\x84"}' % BIG, {"n": BIG, "text": "Ä"}),
        ("application/json", b"", None),
        ("application/json", b"{broken", "{broken"),
        ("application/vnd.api+json", b"[1.50]", [1.5]),
        ("application/x-www-form-urlencoded", b"a=1&b=%C3%84&c=", {"a": "1", "b": "Ä", "c": ""}),
        ("text/plain; charset=utf-8", "grün".encode(), "grün"),
        ("text/plain", b"", None),
    ],
)
def test_a_body_is_what_its_type_says(desk: Dev, content_type: str, content: bytes, seen: Any) -> None:
    answer = desk.post("body", content=content, headers={"content-type": content_type})

    assert answer.status_code == 200, answer.text
    assert answer.json() == seen


def test_bytes_are_a_file_and_come_back_as_they_were(desk: Dev) -> None:
    content = bytes(range(256)) * 8

    answer = desk.post("body", content=content, headers={"content-type": "application/octet-stream"})

    assert (answer.content, answer.headers["content-type"]) == (content, "application/octet-stream")


def test_flows_see_method_query_and_headers_but_not_the_senders_credentials(desk: Dev) -> None:
    secret = "sender-secret"

    answer = desk.client.put(
        "/hooks/desk/echo",
        params={"wait": "30s", "page": "2"},
        headers={"authorization": f"Bearer {secret}", "cookie": f"s={secret}", "x-shop": "north"},
        json=None,
    )

    seen = answer.json()
    assert (seen["method"], seen["query"], seen["headers"]["x-shop"]) == ("PUT", {"page": "2"}, "north")
    assert secret not in answer.text


@pytest.mark.parametrize("path", ["/hooks/nobody/echo", "/hooks/desk/nothing", "/hooks/desk/hidden", "/hooks/desk"])
def test_what_is_not_there_is_said_to_be_missing(desk: Dev, path: str) -> None:
    assert desk.client.post(path).status_code == 404


def test_a_wait_that_is_no_duration_starts_nothing(desk: Dev) -> None:
    answer = desk.post("count", wait="soon")

    assert answer.status_code == 400
    assert "wait" in answer.json()["error"]


@pytest.mark.parametrize(
    "path",
    [
        "/hooks/..%2f..%2fetc/passwd",
        "/hooks/desk/%00",
        "/hooks/desk/" + "a" * 5000,
        "/hooks/%ff%fe/echo",
        "/hooks/desk/echo%2f..%2fbody",
        "/api/v1/executions/..%2f..%2fturnout.db",
        "/api/v1/executions/%27%20OR%201=1--",
        "/callbacks/x/y/z",
    ],
)
def test_hostile_paths_are_answered_and_do_no_harm(desk: Dev, path: str) -> None:
    for method in ("GET", "POST"):
        assert desk.client.request(method, path).status_code in (400, 404, 405), (method, path)
    assert desk.post("body", json=1).json() == 1


def test_raw_nonsense_on_the_port_does_not_disturb_anybody(desk: Dev) -> None:
    address = ("127.0.0.1", int(desk.ready["url"].rpartition(":")[2]))
    for raw in (b"\x00\xff" * 100 + b"\r\n\r\n", b"POST /hooks/desk/body HTTP/1.1\r\ncontent-length: -5\r\n\r\n", b""):
        with socket.create_connection(address, timeout=5) as connection:
            connection.sendall(raw)

    assert desk.post("body", json=1).json() == 1


def resident_kb(pid: int) -> int:
    return next(
        int(line.split()[1]) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmHWM" in line
    )


def test_a_large_body_streams_through_with_flat_memory(desk: Dev) -> None:
    chunk = bytes(1024 * 1024)

    def chunks() -> Iterator[bytes]:
        for number in range(60):
            yield number.to_bytes(4) + chunk[4:]

    assert desk.post("body", json=1).status_code == 200
    before = resident_kb(desk.process.pid)

    answer = desk.post("body", content=chunks(), headers={"content-type": "application/zip"})

    assert (answer.status_code, len(answer.content)) == (200, 60 * len(chunk))
    assert answer.content[len(chunk) : len(chunk) + 4] == (1).to_bytes(4)
    assert resident_kb(desk.process.pid) - before < 30 * 1024


def test_a_request_that_is_too_large_is_refused_and_leaves_nothing(project: Path) -> None:
    (project / "turnout.toml").write_text("[limits]\nrequest = '1MB'\n")
    with Dev(project) as dev:
        for kind in ("application/zip", "application/json"):
            answer = dev.post("body", content=b"1" * 2_000_000, headers={"content-type": kind})
            assert answer.status_code == 413, answer.text

        assert dev.client.get("/api/v1/executions").json()["items"] == []
    assert not [
        path for path in (project / ".turnout" / "payloads").rglob("*") if path.is_file() and path.name != "name"
    ]


def test_executions_can_be_searched_and_their_logs_followed(desk: Dev) -> None:
    execution = desk.post("fail").json()["execution"]

    found = desk.client.get("/api/v1/executions", params={"flow": "fail", "status": "failed", "limit": "1"}).json()

    assert [one["id"] for one in found["items"]] == [execution]
    assert desk.client.get(f"/api/v1/executions/{execution}/logs").status_code == 200
    assert desk.client.get("/api/v1/executions", params={"status": "nonsense"}).status_code == 400
    assert desk.client.get("/api/v1/executions/unknown").status_code == 404


@pytest.mark.parametrize("method", ["PROPFIND", "TRACE"])
def test_methods_that_start_nothing_are_refused(desk: Dev, method: str) -> None:
    assert httpx.request(method, f"{desk.ready['url']}/hooks/desk/body").status_code == 405
