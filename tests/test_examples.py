"""Every example runs, as its README says, under the real `turnout` command."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from turnout_connectors.standins.serving import serving

EXAMPLES = Path(__file__).parent.parent / "examples"
TURNOUT = str(Path(sys.executable).parent / "turnout")
FOLDERS = sorted(folder.name for folder in EXAMPLES.iterdir() if list(folder.glob("integration.*")))

Copy = Callable[[str], Path]
Dev = Callable[..., str]


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """Copies an example to a folder of its own, without anybody's history."""

    def copied(name: str) -> Path:
        return Path(shutil.copytree(EXAMPLES / name, tmp_path / name, ignore=shutil.ignore_patterns(".turnout")))

    return copied


@contextmanager
def serve(project: Path, arguments: Sequence[str]) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [TURNOUT, "dev", str(project), "--port", str(port), *arguments]
    log = project / "dev.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, "NO_COLOR": "1"})
    try:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                break
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture
def dev() -> Iterator[Dev]:
    """Serves a project with `turnout dev`, as a process; its base URL."""
    with ExitStack() as stack:
        yield lambda project, *arguments: stack.enter_context(serve(project, arguments))


def record_once(url: str, execution: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        record: dict[str, Any] = httpx.get(f"{url}/api/v1/executions/{execution}").raise_for_status().json()
        if holds(record):
            return record
        time.sleep(0.02)
    raise AssertionError(f"it did not come to that: {record}")


@pytest.mark.parametrize("name", FOLDERS)
def test_every_example_is_valid_and_in_the_list(name: str) -> None:
    done = subprocess.run([TURNOUT, "validate", str(EXAMPLES / name)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr + done.stdout
    assert f"[{name}]({name})" in (EXAMPLES / "README.md").read_text()


def test_the_stock_check_goes_on_where_a_line_fails_and_keeps_the_order(copy: Copy) -> None:
    project = copy("stock-check")

    done = subprocess.run(
        [TURNOUT, "run", str(project), "--payload", str(project / "payload.json"), "--json"],
        capture_output=True,
        text=True,
        cwd=project,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["output"] == {
        "checked": 4,
        "available": ["apple", "plum"],
        "problems": ["3 of pear, 5 wanted", "there is no article quince"],
    }
    assert {step["path"] for step in record["steps"]} >= {f"each[{index}].take" for index in range(4)}


def test_the_sales_report_adds_up_exactly(copy: Copy) -> None:
    project = copy("sales-report")

    done = subprocess.run(
        [TURNOUT, "run", str(project), "--payload", str(project / "payload.json"), "--json"],
        capture_output=True,
        text=True,
        cwd=project,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    rows = [{"region": "north", "total": "0.30"}, {"region": "south", "total": "12.50"}]
    assert json.loads(done.stdout)["output"] == {"best": "south", "rows": rows}


def test_the_approval_waits_for_its_answer_through_a_restart(copy: Copy) -> None:
    project = copy("approval")
    with serve(project, ()) as url:
        answer = httpx.post(f"{url}/hooks/approval/ask", json={"id": 7, "amount": 900})
        execution = answer.json()["execution"]
        record_once(url, execution, lambda record: record["status"] == "waiting")
        logs = httpx.get(f"{url}/api/v1/executions/{execution}/logs").json()["items"]
    [line] = [line["message"] for line in logs if line["step"] == "tell"]
    path = "/callbacks/" + line.partition("/callbacks/")[2]

    with serve(project, ()) as url:
        httpx.post(url + path, json={"approved": True, "name": "Ada"}).raise_for_status()
        record = record_once(url, execution, lambda record: record["status"] == "succeeded")

    assert record["output"] == {"paid": True, "by": "Ada"}


def test_the_approval_asks_nobody_about_small_amounts(copy: Copy, dev: Dev) -> None:
    url = dev(copy("approval"))

    answer = httpx.post(f"{url}/hooks/approval/ask?wait=30s", json={"id": 8, "amount": 100}, timeout=40)

    assert answer.json() == {"paid": True, "by": "nobody"}


def test_the_csv_archive_becomes_one_gzipped_csv(copy: Copy, dev: Dev) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("north.csv", "article,sold\r\napple,3\r\npear,1\r\n")
        file.writestr("south.csv", "article,sold\r\napple,4\r\n")
        file.writestr("readme.txt", "not a table")
    url = dev(copy("csv-archive"))

    answer = httpx.post(
        f"{url}/hooks/csv-archive/add-up?wait=30s",
        content=archive.getvalue(),
        headers={"content-type": "application/zip"},
        timeout=40,
    )

    assert answer.status_code == 200, answer.text
    assert gzip.decompress(answer.content).decode() == "article,sold\r\napple,7\r\npear,1\r\n"


async def suppliers(request: Request) -> Response:
    lists = {"north": {"apple": 3, "pear": 5}, "south": {"apple": 2}}
    name = request.path_params["name"]
    return JSONResponse(lists[name]) if name in lists else Response(status_code=404)


async def test_the_price_list_compares_the_suppliers_that_answer(copy: Copy) -> None:
    project = copy("price-list")
    app = Starlette(routes=[Route("/{name}.json", suppliers)])

    async with serving(app) as url:
        command = [TURNOUT, "run", str(project), "--set", f"suppliers_url={url}", "--json"]
        process = await asyncio.create_subprocess_exec(*command, stdout=-1, stderr=-1, cwd=project)
        output, errors = await process.communicate()

    assert process.returncode == 0, errors.decode()
    assert json.loads(output)["output"] == {
        "apple": {"supplier": "south", "price": 2},
        "pear": {"supplier": "north", "price": 5},
    }
