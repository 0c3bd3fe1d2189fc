"""`turnout run` as a process: exit statuses, the record, inputs, death and `turnout resume`."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from turnout_connectors.standins.serving import serving

from tests.crash.counterpart import ERP_TOKEN, FILES_TOKEN, Side
from tests.dev.commands import TURNOUT, environment, run, until

ORDERS = Path(__file__).parents[2] / "examples" / "orders"
SHOP = """
integration: shop
version: 2.0.0
config:
  greeting: {type: string}
  times: {type: integer, default: 1}
connections: {api: {connector: http, type: bearer}}
flows:
  main:
    trigger: {webhook: {}}
    steps:
      - id: get
        action: http.request
        connection: api
        with: {url: "${{ trigger.body.url }}"}
        on_error: continue
        when: "${{ trigger.body.url }}"
      - id: say
        code: |
          export default ({ text }) => { console.log("saying", text); return { text }; }
        with: {text: "${{ config.greeting }}"}
      - id: check
        branch:
          - when: "${{ trigger.body.fail }}"
            steps: [{id: no, stop: {error: "asked to fail"}}]
      - {id: done, stop: {output: {said: "${{ steps.say.text }}", times: "${{ config.times }}"}}}
"""
KEYS = ["id", "integration", "version", "flow", "status", "output", "error", "started_at", "duration_ms", "steps"]
STEP_KEYS = ["path", "status", "attempts", "started_at", "duration_ms", "error"]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "integration.yaml").write_text(SHOP)
    (tmp_path / "ok.json").write_text("{}")
    (tmp_path / "fail.json").write_text('{"fail": true}')
    (tmp_path / "connections.yaml").write_text('api: {token: "env:SHOP_TOKEN"}\n')
    return tmp_path


def shop_run(shop: Path, *arguments: str, payload: str = "ok.json", token: str = "t") -> Any:
    options = ("--payload", payload, "--connections", "connections.yaml", *arguments)
    return run("run", ".", *options, cwd=shop, env={"SHOP_TOKEN": token} if token else None)


def test_success_is_status_0_and_the_record_has_its_keys(shop: Path) -> None:
    done = shop_run(shop, "--set", "greeting=hello", "--json")

    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert [key for key in record if key in KEYS] == KEYS
    assert (record["integration"], record["version"], record["flow"]) == ("shop", "2.0.0", "main")
    assert (record["status"], record["output"], record["error"]) == ("succeeded", {"said": "hello", "times": 1}, None)
    for step in record["steps"]:
        assert set(STEP_KEYS) <= set(step)
    assert {step["path"]: step["status"] for step in record["steps"]}["get"] == "skipped"
    assert record["started_at"].endswith("Z")
    assert record["duration_ms"] > 0


def test_a_failed_execution_is_status_1_and_its_record_is_printed(shop: Path) -> None:
    done = shop_run(shop, "--set", "greeting=x", "--json", payload="fail.json")

    assert done.returncode == 1
    record = json.loads(done.stdout)
    assert record["status"] == "failed"
    assert (record["error"]["kind"], record["error"]["message"]) == ("stopped", "asked to fail")


def test_people_see_the_timeline_and_the_log(shop: Path) -> None:
    done = shop_run(shop, "--set", "greeting=hello")

    assert done.returncode == 0
    assert "saying hello" in done.stdout
    for step in ("say", "done"):
        assert step in done.stdout


def test_set_counts_over_the_config_file_and_types_are_read(shop: Path) -> None:
    (shop / "config.yaml").write_text("greeting: from the file\ntimes: 5\n")

    done = shop_run(shop, "--config", "config.yaml", "--set", "times=7", "--json")

    assert json.loads(done.stdout)["output"] == {"said": "from the file", "times": 7}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "greeting"),
        (("--set", "greeting=x", "--set", "unknown=1"), "unknown"),
        (("--set", "greeting=x", "--set", "times=many"), "times"),
        (("--set", "greeting"), "KEY=VALUE"),
        (("--set", "greeting=x", "--flow", "mian"), "main"),
        (("--set", "greeting=x", "--nonsense"), "--nonsense"),
        (("--set", "greeting=x", "--config", "nowhere.yaml"), "nowhere.yaml"),
    ],
)
def test_wrong_inputs_are_status_2_and_named(shop: Path, arguments: tuple[str, ...], named: str) -> None:
    done = shop_run(shop, *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert named in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_reference_is_named_without_a_secret(shop: Path) -> None:
    (shop / "url.json").write_text('{"url": "http://127.0.0.1:9/"}')

    done = shop_run(shop, "--set", "greeting=x", payload="url.json", token="")

    assert done.returncode != 0
    assert "SHOP_TOKEN" in done.stderr + done.stdout


@pytest.mark.parametrize("text", ["integration: [", "integration: shop\nflows: {main: {steps: [{id: a, code: 1}]}}\n"])
def test_a_wrong_definition_is_status_2_with_its_place(shop: Path, text: str) -> None:
    (shop / "integration.yaml").write_text(text)

    done = shop_run(shop)

    assert done.returncode == 2
    assert "integration.yaml:" in done.stderr


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    ignored = shutil.ignore_patterns(".turnout", "__pycache__", "*.py")
    return Path(shutil.copytree(ORDERS, tmp_path / "orders", ignore=ignored))


@pytest.mark.parametrize(
    ("then", "request_number", "after"),
    [("resume", 0, True), ("resume", 1, False), ("resume", 1, True), ("dev", 0, False), ("dev", 1, True)],
)
async def test_w1_killed_in_a_request_ends_once_under_resume_and_dev(
    orders: Path, then: str, request_number: int, after: bool
) -> None:
    side = Side(orders, kill_at=request_number, after=after)
    async with serving(side) as url:
        arguments = _orders_inputs(orders, url)
        process = await _started(orders, "run", ".", *arguments, "--json")
        (orders / "pid").write_text(str(process.pid))
        await process.communicate()
        side.kill_at = None
        assert process.returncode == -signal.SIGKILL
        if then == "resume":
            done = await _ended(orders, "resume", "--json")
            assert json.loads(done)["recovered"] == 1
        else:
            dev = await _started(orders, "dev", "--port", "0", *arguments)
            await asyncio.to_thread(until, lambda: _records(orders)[0]["status"] == "succeeded")
            dev.terminate()
            await dev.communicate()
        [record] = await asyncio.to_thread(_records, orders)

    assert (record["status"], record["output"]["receipt"]) == ("succeeded", side.erp.accepted[-1].receipt)
    assert {order.body["batch"] for order in side.erp.accepted} == {1}
    # `retry` says that the POST which was under way may be sent again.
    assert len(side.erp.accepted) == (2 if (request_number, after) == (1, True) else 1)


def _orders_inputs(directory: Path, url: str) -> list[str]:
    file = directory / "connections.yaml"
    file.write_text(f'erp: {{token: "env:ERP_TOKEN"}}\nfiles: {{access_token: "env:FILES_TOKEN", base_url: "{url}"}}\n')
    return ["--set", f"erp_url={url}", "--connections", str(file)]


_TOKENS = {"ERP_TOKEN": ERP_TOKEN, "FILES_TOKEN": FILES_TOKEN}


async def _started(cwd: Path, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        TURNOUT, *arguments, cwd=cwd, env=environment(**_TOKENS), stdout=-1, stderr=-1
    )


async def _ended(cwd: Path, *arguments: str) -> str:
    process = await _started(cwd, *arguments)
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


def _records(cwd: Path) -> list[dict[str, Any]]:
    listed = run("executions", "list", "--json", cwd=cwd)
    found: list[dict[str, Any]] = [
        json.loads(run("executions", "show", one["id"], "--json", cwd=cwd).stdout) for one in json.loads(listed.stdout)
    ]
    return found


async def test_secrets_are_in_no_output_record_log_or_file(orders: Path) -> None:
    """The ERP and the Dropbox know the tokens; nothing that Turnout wrote or said does, not encoded either."""
    side = Side(orders)
    async with serving(side) as url:
        arguments = _orders_inputs(orders, url)
        shown = await _ended(orders, "run", ".", *arguments)
        [record] = await asyncio.to_thread(_records, orders)
        logs = await _ended(orders, "executions", "logs", record["id"])
    (orders / "connections.yaml").unlink()

    said = (shown + logs + json.dumps(record)).encode()
    stored = {path: path.read_bytes() for path in (orders / ".turnout").rglob("*") if path.is_file()}
    assert any(path.name == "turnout.db" for path in stored)
    for secret in (ERP_TOKEN.encode(), FILES_TOKEN.encode()):
        for form in (secret, base64.b64encode(secret).rstrip(b"="), secret.hex().encode(), secret[::-1]):
            assert form not in said
            assert not [path for path, content in stored.items() if form in content]


async def test_a_secret_that_a_server_repeats_is_masked(shop: Path) -> None:
    async def parrot(scope: Any, receive: Any, send: Any) -> None:
        header = dict(scope["headers"])[b"authorization"]
        await send({"type": "http.response.start", "status": 500, "headers": [(b"x-echo", header)]})
        await send({"type": "http.response.body", "body": b'{"you": "' + header + b'"}'})

    secret = "parrot-secret-4711"
    async with serving(parrot) as url:
        (shop / "url.json").write_text(json.dumps({"url": url}))
        done = await asyncio.to_thread(
            lambda: shop_run(shop, "--set", "greeting=x", "--json", payload="url.json", token=secret)
        )

    assert done.returncode == 0, done.stderr
    [failed] = [step for step in json.loads(done.stdout)["steps"] if step["path"] == "get"]
    assert failed["status"] == "failed"
    written = [path.read_bytes() for path in (shop / ".turnout").rglob("*") if path.is_file()]
    for form in (secret.encode(), base64.b64encode(secret.encode()).rstrip(b"=")):
        assert form not in (done.stdout + done.stderr).encode()
        assert not any(form in content for content in written)
