"""The secret that code uses is never in its process: the whole of its memory is looked through, after it was used."""

from __future__ import annotations

import os
import re
import secrets
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from turnout.interfaces.sandbox import Credential, Egress, Exchange, Limits, Success
from turnout.testing.sandbox import bundle_of, job
from turnout_ecs.jail.options import ChrootOptions
from turnout_ecs.jail.sandbox import ChrootSandbox

PLACEHOLDER = "turnout-secret-0123456789abcdef"
CODE = """
export default async ({ url, placeholder, kept }) => {
  globalThis.kept = kept;
  const answer = await fetch(`${url}/orders?key=${placeholder}`, {
    method: "POST",
    headers: { authorization: `Bearer ${placeholder}` },
    body: JSON.stringify({ key: placeholder }),
  });
  return [answer.status, answer.headers.get("x-echo"), await answer.text()];
};
"""


class Echo(BaseHTTPRequestHandler):
    """A server that says again whatever it was told, as some do in their errors."""

    heard: ClassVar[list[str]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        said = f"{self.path} {self.headers['authorization']} {body}"
        type(self).heard.append(said)
        self.send_response(200)
        self.send_header("x-echo", self.headers["authorization"])
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def echo() -> Iterator[tuple[int, list[str]]]:
    class Here(Echo):
        heard: ClassVar[list[str]] = []

    with ThreadingHTTPServer(("127.0.0.1", 0), Here) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port, Here.heard
        server.shutdown()


@pytest.fixture
async def sandbox(jail: Path) -> AsyncIterator[ChrootSandbox]:
    sandbox = ChrootSandbox(ChrootOptions(jail=jail, openable=("127.0.0.0/8",)))
    await sandbox.start()
    yield sandbox
    await sandbox.close()


def in_memory(pid: int, text: str) -> int:
    """How often the text is in what the process may read, as one byte a character and as two."""
    wanted = [re.escape(text.encode()), re.escape(text.encode("utf-16-le"))]
    pattern, found = re.compile(b"|".join(wanted)), 0
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            begin, _, end = line.split()[0].partition("-")
            if line.split()[1].startswith("r") and "[v" not in line:
                found += len(pattern.findall(_read(memory.fileno(), int(begin, 16), int(end, 16))))
    return found


def _read(fd: int, begin: int, end: int) -> bytes:
    pieces = []
    while begin < end and (piece := os.pread(fd, min(end - begin, 1 << 26), begin)):
        pieces.append(piece)
        begin += len(piece)
    return b"".join(pieces)


@pytest.mark.withheld("SYS_PTRACE, to read the memory of another user's process")
@pytest.mark.parametrize("handed_over", [False, True], ids=["by placeholder", "control: handed over"])
async def test_the_secret_is_not_in_the_memory_of_the_code_that_used_it(
    sandbox: ChrootSandbox, echo: tuple[int, list[str]], tmp_path: Path, handed_over: bool
) -> None:
    port, heard = echo
    secret = secrets.token_hex(16)
    here = f"127.0.0.1:{port}"
    seen: list[Exchange] = []
    egress = Egress(
        hosts=(here,),
        credentials=(Credential(placeholder=PLACEHOLDER, secret=secret, hosts=(here,)),),
        observe=seen.append,
    )
    given = {"url": f"http://{here}", "placeholder": PLACEHOLDER, "kept": secret if handed_over else ""}
    handle = await sandbox.acquire("acme", bundle_of(tmp_path, {"main.mjs": CODE}), Limits())

    outcome = await handle.run(job("main.mjs", given, egress=egress))
    process = handle._process  # type: ignore[attr-defined]  # what is in it is seen from outside alone
    found, control = in_memory(process.worker, secret), in_memory(process.worker, PLACEHOLDER)
    await handle.release()

    assert isinstance(outcome, Success)
    assert heard == [f'/orders?key={secret} Bearer {secret} {{"key":"{secret}"}}']
    assert secret not in outcome.output.json.decode()
    assert outcome.output.json.decode().count(PLACEHOLDER) == 4
    assert control > 0
    assert (found > 0) == handed_over
    assert secret not in repr(seen)
