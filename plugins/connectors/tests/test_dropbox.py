"""The `dropbox` connector against the stand-in, which answers as Dropbox documents."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
from turnout.connectors import AfterCrash, File, StepError
from turnout.testing.connectors import ActionRunner
from turnout_connectors import dropbox as dropbox_module
from turnout_connectors.dropbox import connector
from turnout_connectors.dropbox.api import Token
from turnout_connectors.standins.dropbox import DropboxStandIn
from turnout_connectors.standins.serving import serving


@pytest.fixture
def standin() -> DropboxStandIn:
    return DropboxStandIn(token="secret-token", page_size=3)


@pytest.fixture
async def dropbox(standin: DropboxStandIn) -> AsyncIterator[ActionRunner]:
    async with (
        serving(standin.app) as url,
        ActionRunner(connector, connection=Token(access_token="secret-token", base_url=url)) as runner,
    ):
        yield runner


async def _fails(dropbox: ActionRunner, action: str, inputs: Mapping[str, Any], *, repeated: bool = False) -> StepError:
    with pytest.raises(StepError) as failed:
        await dropbox.run(action, inputs, repeated=repeated)
    return failed.value


async def test_a_download_is_a_file_with_its_name_and_type(standin: DropboxStandIn, dropbox: ActionRunner) -> None:
    standin.put("/in/Aufträge €.xml", "<orders>ä</orders>".encode())

    file = (await dropbox.run("download", {"path": "/in/aufträge €.xml"})).load()

    assert isinstance(file, File)
    assert (file.name, file.content_type) == ("Aufträge €.xml", "text/xml")
    assert await dropbox.files.read(file) == "<orders>ä</orders>".encode()


async def test_a_large_download_is_streamed_whole(standin: DropboxStandIn, dropbox: ActionRunner) -> None:
    content = bytes(range(256)) * 20_000
    standin.put("/large.bin", content)

    file = (await dropbox.run("download", {"path": "/large.bin"})).load()

    assert file.size == len(content)
    assert await dropbox.files.read(file) == content


async def test_a_listing_has_the_entries_of_all_pages(standin: DropboxStandIn, dropbox: ActionRunner) -> None:
    for number in range(7):
        standin.put(f"/in/{number}.txt", b"x")
    standin.put("/in/sub/deep.txt", b"x")

    files = (await dropbox.run("list", {"path": "/in", "kind": "files"})).load()["entries"]
    everything = (await dropbox.run("list", {"path": "/", "recursive": True})).load()["entries"]

    assert [entry["name"] for entry in files] == [f"{number}.txt" for number in range(7)]
    assert len(everything) == 10


async def test_more_entries_than_the_limit_fail_the_step(standin: DropboxStandIn, dropbox: ActionRunner) -> None:
    for number in range(4):
        standin.put(f"/{number}", b"x")

    assert (await _fails(dropbox, "list", {"limit": 3})).kind == "too_many_entries"


async def test_an_upload_of_text_or_a_file_is_there_afterwards(standin: DropboxStandIn, dropbox: ActionRunner) -> None:
    file = await dropbox.files.create(b"z" * 300_000)

    text = (await dropbox.run("upload", {"path": "/out/ä.txt", "content": "größe"})).load()
    await dropbox.run("upload", {"path": "/out/z.bin", "content": file})

    assert (text["name"], text["size"]) == ("ä.txt", 7)
    assert standin.content("/out/ä.txt") == "größe".encode()
    assert standin.content("/out/z.bin") == b"z" * 300_000


async def test_a_file_above_the_limit_of_one_request_goes_in_a_session(
    standin: DropboxStandIn, dropbox: ActionRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dropbox_module, "_REQUEST_BYTES", 100_000)
    monkeypatch.setattr(dropbox_module, "_SESSION_CHUNK_BYTES", 70_000)
    standin.request_bytes = 100_000
    content = bytes(range(250)) * 1000
    file = await dropbox.files.create(content)

    metadata = (await dropbox.run("upload", {"path": "/large", "content": file})).load()

    assert metadata["size"] == 250_000
    assert standin.content("/large") == content
    assert standin.calls == ["upload_session/start", *["upload_session/append_v2"] * 4, "upload_session/finish"]


async def test_an_upload_over_other_content_obeys_its_mode(standin: DropboxStandIn, dropbox: ActionRunner) -> None:
    first = (await dropbox.run("upload", {"path": "/a.txt", "content": "1"})).load()

    conflict = await _fails(dropbox, "upload", {"path": "/a.txt", "content": "2"})
    renamed = (await dropbox.run("upload", {"path": "/a.txt", "content": "2", "autorename": True})).load()
    updated = (
        await dropbox.run("upload", {"path": "/a.txt", "content": "3", "mode": "update", "rev": first["rev"]})
    ).load()
    outdated = await _fails(
        dropbox, "upload", {"path": "/a.txt", "content": "4", "mode": "update", "rev": first["rev"]}
    )
    await dropbox.run("upload", {"path": "/a.txt", "content": "5", "mode": "overwrite"})

    assert (conflict.kind, conflict.retryable) == ("dropbox_path_conflict_file", False)
    assert renamed["name"] == "a (1).txt"
    assert updated["id"] == first["id"]
    assert outdated.kind == "dropbox_path_conflict_file"
    assert standin.content("/a.txt") == b"5"


async def test_a_move_takes_the_file_along(standin: DropboxStandIn, dropbox: ActionRunner) -> None:
    standin.put("/in/a.txt", b"a")

    moved = (await dropbox.run("move", {"from_path": "/in/a.txt", "to_path": "/done/a.txt"})).load()

    assert moved["metadata"]["path_display"] == "/done/a.txt"
    assert standin.content("/in/a.txt") is None
    assert standin.content("/done/a.txt") == b"a"


async def test_a_move_that_happened_before_the_crash_is_found_out(
    standin: DropboxStandIn, dropbox: ActionRunner
) -> None:
    standin.put("/done/a.txt", b"a")
    inputs = {"from_path": "/in/a.txt", "to_path": "/done/a.txt"}

    repeated = (await dropbox.run("move", inputs, repeated=True)).load()
    first = await _fails(dropbox, "move", inputs)
    nowhere = await _fails(dropbox, "move", {**inputs, "to_path": "/other"}, repeated=True)

    assert repeated["metadata"]["path_display"] == "/done/a.txt"
    assert first.kind == "dropbox_from_lookup_not_found"
    assert nowhere.kind == "dropbox_path_not_found"


async def test_a_deletion_that_happened_before_the_crash_is_a_success(
    standin: DropboxStandIn, dropbox: ActionRunner
) -> None:
    standin.put("/a.txt", b"a")

    deleted = (await dropbox.run("delete", {"path": "/a.txt"})).load()
    repeated = (await dropbox.run("delete", {"path": "/a.txt"}, repeated=True)).load()
    allowed = (await dropbox.run("delete", {"path": "/a.txt", "missing_ok": True})).load()
    refused = await _fails(dropbox, "delete", {"path": "/a.txt"})

    assert deleted["metadata"]["name"] == "a.txt"
    assert repeated["metadata"] is allowed["metadata"] is None
    assert refused.kind == "dropbox_path_lookup_not_found"


@pytest.mark.parametrize(
    ("action", "inputs", "after_crash"),
    [
        ("upload", {"path": "/a", "content": "a"}, AfterCrash.UPSERT),
        ("upload", {"path": "/a", "content": "a", "autorename": True}, AfterCrash.NONE),
        ("move", {"from_path": "/a", "to_path": "/b"}, AfterCrash.QUERY),
        ("move", {"from_path": "/a", "to_path": "/b", "autorename": True}, AfterCrash.NONE),
        ("delete", {"path": "/a"}, AfterCrash.QUERY),
    ],
)
def test_what_may_be_repeated_after_a_crash_is_declared(
    action: str, inputs: Mapping[str, Any], after_crash: AfterCrash
) -> None:
    assert ActionRunner(connector).effects(action, inputs).after_crash is after_crash


@pytest.mark.parametrize(
    ("status", "body", "kind", "retryable"),
    [
        (
            401,
            {"error_summary": "expired_access_token/..", "error": {".tag": "expired_access_token"}},
            "dropbox_expired_access_token",
            False,
        ),
        (403, {"error_summary": "insufficient_permissions/"}, "http_403", False),
        (400, "Error in call to API function", "http_400", False),
        (
            409,
            {"error_summary": "path/restricted_content/.", "error": {".tag": "path"}},
            "dropbox_path_restricted_content",
            False,
        ),
        (
            409,
            {"error_summary": "too_many_write_operations/..", "error": {}},
            "dropbox_too_many_write_operations",
            True,
        ),
        (500, "", "http_500", True),
        (503, "<html>", "http_503", True),
    ],
)
async def test_documented_errors_have_kinds_and_say_whether_to_retry(
    standin: DropboxStandIn, dropbox: ActionRunner, status: int, body: Any, kind: str, retryable: bool
) -> None:
    standin.fail_next(status, body)

    error = await _fails(dropbox, "download", {"path": "/a"})

    assert (error.kind, error.retryable) == (kind, retryable)
    assert "secret-token" not in f"{error} {error.details}"


async def test_a_rate_limit_says_when_to_come_back(standin: DropboxStandIn, dropbox: ActionRunner) -> None:
    limited = {
        "error_summary": "too_many_requests/.",
        "error": {"reason": {".tag": "too_many_requests"}, "retry_after": 9},
    }
    standin.fail_next(429, limited, headers={"retry-after": "15"})
    standin.fail_next(429, limited)

    waits = [(await _fails(dropbox, "list", {})).retry_after_s for _ in range(2)]

    assert waits == [15, 9]


async def test_missing_files_wrong_tokens_and_folders_are_told_apart(
    standin: DropboxStandIn, dropbox: ActionRunner
) -> None:
    standin.put("/folder/a.txt", b"a")

    missing = await _fails(dropbox, "download", {"path": "/none"})
    folder = await _fails(dropbox, "download", {"path": "/folder"})
    standin.token = "another"
    token = await _fails(dropbox, "download", {"path": "/folder/a.txt"})

    assert (missing.kind, missing.retryable) == ("dropbox_path_not_found", False)
    assert folder.kind == "dropbox_path_not_file"
    assert (token.kind, token.retryable) == ("dropbox_invalid_access_token", False)
    assert "renew the connection" in str(token)


@pytest.mark.parametrize(
    ("action", "inputs"),
    [
        ("download", {"path": "no-slash"}),
        ("upload", {"path": "/folder/", "content": "x"}),
        ("upload", {"path": "/a", "content": "x", "mode": "update"}),
        ("upload", {"path": "/a", "content": "x", "rev": "0123456789"}),
        ("move", {"from_path": "/a", "to_path": "b"}),
    ],
)
async def test_paths_and_modes_that_cannot_be_are_refused_before_the_call(
    standin: DropboxStandIn, dropbox: ActionRunner, action: str, inputs: Mapping[str, Any]
) -> None:
    error = await _fails(dropbox, action, inputs)

    assert error.kind == "input"
    assert standin.calls == []


async def test_without_a_base_url_calls_go_to_dropboxs_own_hosts(
    dropbox: ActionRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts: list[str] = []

    async def refuse(pool: object, request: httpx.Request, *, timeout_s: float | None) -> httpx.Response:
        hosts.append(request.url.host)
        return httpx.Response(500, request=request, content=b"")

    monkeypatch.setattr("turnout_connectors.transport.send", refuse)
    dropbox.connection = Token(access_token="secret-token")

    await _fails(dropbox, "list", {})
    await _fails(dropbox, "download", {"path": "/a"})

    assert hosts == ["api.dropboxapi.com", "content.dropboxapi.com"]


def test_the_argument_header_is_ascii_whatever_the_path() -> None:
    from turnout_connectors.dropbox.api import _header_json

    text = _header_json({"path": "/ä€\x7f😀"})

    assert text.isascii()
    assert "\x7f" not in text
    assert json.loads(text) == {"path": "/ä€\x7f😀"}
