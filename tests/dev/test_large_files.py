"""A large file passes from one server to another without being held in memory."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from turnout_connectors.standins.serving import serving

from tests.dev.commands import TURNOUT, environment

SIZE = int(os.environ.get("TURNOUT_LARGE_FILE_MB", "200")) * 1024 * 1024
CARRY = """
integration: carry
version: 1.0.0
config: {url: {type: string}}
flows:
  main:
    trigger: {webhook: {}}
    steps:
      - {id: get, action: http.request, with: {url: "${{ config.url }}/large", response: file}}
      - id: put
        action: http.request
        with: {method: POST, url: "${{ config.url }}/large", body: "${{ steps.get.file }}"}
        retry: 2
      - {id: done, stop: {output: "${{ steps.put.json }}"}}
"""


def chunks() -> Iterator[bytes]:
    chunk = os.urandom(1024 * 1024)
    for number in range(SIZE // len(chunk)):
        yield number.to_bytes(4) + chunk[4:]


class Large:
    """Gives a large file by stream, and takes it back."""

    def __init__(self) -> None:
        self.sent, self.received = hashlib.sha256(), hashlib.sha256()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await (self._give(send) if scope["method"] == "GET" else self._take(receive, send))

    async def _give(self, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/zip")]})
        for chunk in chunks():
            self.sent.update(chunk)
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _take(self, receive: Any, send: Any) -> None:
        size = 0
        while True:
            message = await receive()
            self.received.update(message.get("body", b""))
            size += len(message.get("body", b""))
            if not message.get("more_body"):
                break
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": json.dumps({"size": size}).encode()})


async def test_a_large_file_streams_from_server_to_server_with_flat_memory(tmp_path: Path) -> None:
    (tmp_path / "integration.yaml").write_text(CARRY)
    large = Large()
    async with serving(large) as url:
        process = await asyncio.create_subprocess_exec(
            TURNOUT, "run", ".", "--set", f"url={url}", "--json", cwd=tmp_path, env=environment(), stdout=-1, stderr=-1
        )
        peak = asyncio.ensure_future(_peak_bytes(process))
        output, errors = await process.communicate()

    assert process.returncode == 0, errors.decode() + output.decode()
    assert json.loads(output)["output"] == {"size": SIZE}
    assert large.sent.digest() == large.received.digest()
    assert await peak < 250 * 1024 * 1024


async def _peak_bytes(process: asyncio.subprocess.Process) -> int:
    """The most memory that the process itself ever had, as long as it could be seen."""
    peak = 0
    status = Path(f"/proc/{process.pid}/status")
    while process.returncode is None:
        lines = status.read_text().splitlines() if status.exists() else []
        peak = max([peak, *(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))])
        await asyncio.sleep(0.05)
    return peak
