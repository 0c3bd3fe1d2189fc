"""The main job, end to end on this machine: `make demo`.

Starts stand-ins for Dropbox and for an ERP, then `turnout dev` as a process of its own, sends one webhook, and shows the
execution as it goes, what the ERP received, and where to look next.

    make demo
    make demo ARGS="--fail-first 1"    the ERP is down at first: see the retry
    make demo ARGS=--keep              everything stays up until Ctrl-C
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from turnout_connectors.standins.dropbox import DropboxStandIn
from turnout_connectors.standins.serving import serving

from examples.orders.erp import ErpStandIn
from examples.orders.make_orders import orders

HERE = Path(__file__).parent
_START_S = 60.0
_RUN_S = 60.0
_POLL_S = 0.02
_COLUMN_MS = 5
_BAR_COLUMNS = 40
_MARKS = {"succeeded": "✓", "failed": "✗", "skipped": "-", "cancelled": "✗", "parked": "!"}


class DemoFailed(Exception):
    """Something did not come up or did not end well; the message says what."""


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@asynccontextmanager
async def _turnout(project: Path, arguments: list[str], environment: dict[str, str], log: Path) -> AsyncIterator[str]:
    """`turnout dev` on a free port; its base URL once it answers."""
    url = f"http://127.0.0.1:{(port := _free_port())}"
    command = [str(Path(sys.executable).parent / "turnout"), "dev", str(project), "--port", str(port), *arguments]
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, env={**os.environ, **environment}, stdout=output, stderr=output
        )
    try:
        await _await_answer(url, process, log)
        yield url
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def _await_answer(url: str, process: asyncio.subprocess.Process, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    async with httpx.AsyncClient() as client:
        while time.monotonic() < deadline:
            if process.returncode is not None:
                raise DemoFailed(f"turnout dev ended with status {process.returncode}:\n{log.read_text()}")
            try:
                await client.get(url)
            except httpx.TransportError:
                await asyncio.sleep(_POLL_S)
            else:
                return
    raise DemoFailed(f"turnout dev did not answer within {_START_S:.0f} s:\n{log.read_text()}")


async def _follow(client: httpx.AsyncClient, execution: str) -> dict[str, Any]:
    """Print steps with their logs as they end; the record once the execution has ended."""
    shown: set[str] = set()
    deadline = time.monotonic() + _RUN_S
    while time.monotonic() < deadline:
        record: dict[str, Any] = (await client.get(f"/api/v1/executions/{execution}")).raise_for_status().json()
        ended = [step for step in record["steps"] if step["status"] not in ("running", "waiting")]
        fresh = [step for step in ended if step["path"] not in shown]
        if fresh:
            logs = (await client.get(f"/api/v1/executions/{execution}/logs")).raise_for_status().json()["items"]
            for step in fresh:
                shown.add(step["path"])
                _print_step(step, [line for line in logs if line["step"] == step["path"]])
        if record["status"] in ("succeeded", "failed", "cancelled", "parked"):
            return record
        await asyncio.sleep(_POLL_S)
    raise DemoFailed(f"execution {execution} did not end within {_RUN_S:.0f} s")


def _print_step(step: dict[str, Any], logs: list[dict[str, Any]]) -> None:
    duration_ms = step["duration_ms"] or 0.0
    bar = "█" * min(_BAR_COLUMNS, max(1, round(duration_ms / _COLUMN_MS)))
    tries = f"  {step['attempts']} attempts" if step["attempts"] > 1 else ""
    kind = step.get("kind", "")
    print(
        f"  {_MARKS.get(step['status'], '?')} {step['path']:<8} {kind:<8} {duration_ms:8.1f} ms  {bar}{tries}",
        flush=True,
    )
    for line in logs:
        print(f"      {line['level']}: {line['message']}")
    if step["error"]:
        print(f"      {step['error']['kind']}: {step['error']['message']}")


def _print_received(erp: ErpStandIn) -> None:
    print("\nWhat the ERP received")
    for order in erp.accepted:
        lines = order.body["orders"]
        total = sum(line["total"] for line in lines)
        print(
            f"  POST /orders  batch {order.body['batch']}, {len(lines)} orders, {total:,.2f} in all → {order.receipt}"
        )
        for line in lines[:3]:
            print(f"    {line['id']}  {line['customer']:<20} {line['total']:>10,.2f}")
        print(f"    … and {len(lines) - 3} more")


def _print_next(project: Path, url: str, execution: str, *, keep: bool) -> None:
    shown = project.relative_to(Path.cwd()) if project.is_relative_to(Path.cwd()) else project
    print("\nWhere to look next")
    print(f"  {shown / 'integration.yaml'}, {shown / 'parse.js'}   what just ran")
    print(f"  cd {shown} && turnout executions show {execution}   its history (with .venv/bin on the PATH)")
    print(f"  {shown / 'README.md'}   run it by hand, without this demo")
    if keep:
        print(f"  {url}/api/v1/executions/{execution}   the record, as JSON")
        print(f"  curl -X POST '{url}/hooks/orders-to-erp/sync-orders?wait=30s'   once more")
        print("\nEverything stays up until Ctrl-C.", flush=True)
    else:
        print("  make demo ARGS=--keep   leave everything running, to send webhooks yourself")


async def demo(project: Path, *, fail_first: int, keep: bool) -> None:
    """Run it. `DemoFailed` if the execution does not succeed."""
    dropbox_token, erp_token = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
    document = "".join(orders(200)).encode()
    dropbox = DropboxStandIn(token=dropbox_token)
    dropbox.put("/orders.xml", document)
    erp = ErpStandIn(token=erp_token, fail_first=fail_first)
    with tempfile.TemporaryDirectory(prefix="turnout-demo-") as folder:
        async with serving(dropbox.app) as dropbox_url, serving(erp.app) as erp_url:
            connections = Path(folder) / "connections.yaml"
            connections.write_text(
                'erp: {token: "env:ERP_TOKEN"}\n'
                f'files: {{access_token: "env:DROPBOX_TOKEN", base_url: "{dropbox_url}"}}\n'
            )
            arguments = ["--set", f"erp_url={erp_url}", "--connections", str(connections)]
            environment = {"ERP_TOKEN": erp_token, "DROPBOX_TOKEN": dropbox_token}
            async with _turnout(project, arguments, environment, Path(folder) / "turnout.log") as url:
                print(f"  Dropbox stand-in  {dropbox_url}   /orders.xml, {len(document):,} bytes")
                print(f"  ERP stand-in      {erp_url}" + (f"   down for {fail_first} requests" if fail_first else ""))
                print(f"  turnout dev       {url}\n")
                execution = await _one_run(url)
                _print_received(erp)
                _print_next(project, url, execution, keep=keep)
                if keep:
                    await asyncio.Event().wait()


async def _one_run(url: str) -> str:
    hook = "/hooks/orders-to-erp/sync-orders"
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        answer = (await client.post(hook, json={"from": "the demo"})).raise_for_status()
        execution: str = answer.json()["execution"]
        print(f"POST {hook} → {answer.status_code}, execution {execution}")
        record = await _follow(client, execution)
    print(f"  {record['status']} in {record['duration_ms']:.0f} ms, output {record['output']}")
    if record["status"] != "succeeded":
        raise DemoFailed(f"the execution ended {record['status']}: {record['error']}")
    return execution


def main() -> int:
    parser = argparse.ArgumentParser(description="The 6-step integration, end to end on this machine.")
    parser.add_argument(
        "--project", type=Path, default=HERE, help="where the integration is (default: beside this file)"
    )
    parser.add_argument(
        "--fail-first", type=int, default=0, metavar="N", help="the ERP answers the first N POSTs with 503"
    )
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    options = parser.parse_args()
    start = time.monotonic()
    print("Orders from Dropbox, through customers' JavaScript, to the ERP\n")
    try:
        asyncio.run(demo(options.project.resolve(), fail_first=options.fail_first, keep=options.keep))
    except DemoFailed as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    print(f"\nDone in {time.monotonic() - start:.1f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
