"""The stand-in itself, as raw HTTP: what the documentation says Dropbox answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
from turnout_connectors.standins.dropbox import DropboxStandIn
from turnout_connectors.standins.serving import serving


@pytest.fixture
def standin() -> DropboxStandIn:
    return DropboxStandIn(token="secret", page_size=2)


@pytest.fixture
async def api(standin: DropboxStandIn) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        serving(standin.app) as url,
        httpx.AsyncClient(base_url=f"{url}/2/files", headers={"authorization": "Bearer secret"}) as client,
    ):
        yield client


async def test_download_gives_the_content_and_its_metadata_in_an_ascii_header(
    standin: DropboxStandIn, api: httpx.AsyncClient
) -> None:
    standin.put("/Bücher/orders.xml", b"<orders/>")

    answer = await api.post(
        "/download", headers={"dropbox-api-arg": json.dumps({"path": "/bücher/ORDERS.xml"}), "content-type": ""}
    )

    assert answer.content == b"<orders/>"
    assert json.loads(answer.headers["dropbox-api-result"])["path_display"] == "/Bücher/orders.xml"


async def test_a_listing_comes_in_pages(standin: DropboxStandIn, api: httpx.AsyncClient) -> None:
    for number in range(5):
        standin.put(f"/in/{number}.txt", b"x")

    pages = [(await api.post("/list_folder", json={"path": "/in"})).json()]
    while pages[-1]["has_more"]:
        pages.append((await api.post("/list_folder/continue", json={"cursor": pages[-1]["cursor"]})).json())

    assert [[entry["name"] for entry in page["entries"]] for page in pages] == [
        ["0.txt", "1.txt"],
        ["2.txt", "3.txt"],
        ["4.txt"],
    ]


@pytest.mark.parametrize(
    ("endpoint", "argument", "summary"),
    [
        ("list_folder", {"path": "/none"}, "path/not_found/..."),
        ("list_folder", {"path": "/a.txt"}, "path/not_folder/..."),
        ("list_folder/continue", {"cursor": "old"}, "reset/..."),
        ("delete_v2", {"path": "/none"}, "path_lookup/not_found/..."),
        ("move_v2", {"from_path": "/none", "to_path": "/b"}, "from_lookup/not_found/..."),
        ("move_v2", {"from_path": "/a.txt", "to_path": "/b.txt"}, "to/conflict/file/..."),
    ],
)
async def test_documented_errors_are_answered_as_documented(
    standin: DropboxStandIn, api: httpx.AsyncClient, endpoint: str, argument: Mapping[str, Any], summary: str
) -> None:
    standin.put("/a.txt", b"a")
    standin.put("/b.txt", b"b")

    answer = await api.post(f"/{endpoint}", json=argument)

    assert (answer.status_code, answer.json()["error_summary"]) == (409, summary)


async def test_a_wrong_token_is_answered_with_401_and_a_missing_one_with_400_in_plain_text(
    api: httpx.AsyncClient,
) -> None:
    wrong = await api.post("/get_metadata", json={"path": "/"}, headers={"authorization": "Bearer other"})
    missing = await api.post("/get_metadata", json={"path": "/"}, headers={"authorization": ""})

    assert (wrong.status_code, wrong.json()["error"]) == (401, {".tag": "invalid_access_token"})
    assert missing.status_code == 400
    assert missing.headers["content-type"].startswith("text/plain")


async def test_an_upload_of_identical_content_is_no_conflict_and_of_other_content_is(
    standin: DropboxStandIn, api: httpx.AsyncClient
) -> None:
    standin.put("/a.txt", b"same")
    headers = {"dropbox-api-arg": json.dumps({"path": "/a.txt"}), "content-type": "application/octet-stream"}

    same = await api.post("/upload", headers=headers, content=b"same")
    other = await api.post("/upload", headers=headers, content=b"other")

    assert same.status_code == 200
    assert other.json()["error_summary"] == "path/conflict/file/..."
