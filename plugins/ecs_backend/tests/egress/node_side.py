"""Code in a plain Node process whose network is a broker's, and brokers for processes that are played by a test."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from turnout import sandbox
from turnout.interfaces.sandbox import Credential, Egress, Exchange
from turnout.sandbox.node import node_binary
from turnout_ecs.egress import Broker, EgressLimits, verifying_context

from .origin import NAME, Origin

__all__ = ["Network", "brokered", "run_code"]

BOOTSTRAP = Path(sandbox.__file__).parent / "bootstrap" / "egress.cjs"
HEAD = f"""
import {{ createRequire }} from 'node:module'
const require = createRequire(process.cwd() + '/step.js')
require({json.dumps(str(BOOTSTRAP))}).install()
"""


@dataclass
class Network:
    """What there is to be reached, and what was observed. `names`: what a name resolves to."""

    origin: Origin
    ca: Path
    hosts: tuple[str, ...] | None = None
    credentials: tuple[Credential, ...] = ()
    limits: EgressLimits = field(default_factory=lambda: EgressLimits(openable=("127.0.0.0/8", "::1/128")))
    names: dict[str, list[str]] = field(default_factory=dict)
    exchanges: list[Exchange] = field(default_factory=list)
    resolved: list[str] = field(default_factory=list)

    def egress(self) -> Egress:
        listed = self.hosts
        if listed is None:
            ports = self.origin.ports
            listed = tuple(f"{host}:{port}" for host in (NAME, "*.wild.test", "127.0.0.1") for port in ports)
        return Egress(hosts=listed, credentials=self.credentials, observe=self.exchanges.append)

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.resolved.append(host)
        found = self.names.get(host, ["127.0.0.1"] if host.endswith(".test") else [])
        if not found:
            raise OSError("no such name")
        return found

    async def broker(self, end: socket.socket) -> Broker:
        return await Broker.open(end, self.limits, tls=verifying_context(str(self.ca)), resolve=self.resolve)


@contextlib.asynccontextmanager
async def brokered(network: Network) -> AsyncIterator[tuple[Broker, socket.socket]]:
    """A broker with a job attached, and the process's end of its descriptor."""
    ours, theirs = socket.socketpair()
    with theirs:
        broker = await network.broker(ours)
        try:
            broker.attach(network.egress())
            theirs.settimeout(0)
            yield broker, theirs
        finally:
            await broker.close()


async def run_code(network: Network, code: str, *, cwd: Path, within_s: float = 60.0) -> Any:
    """What a module's `answer` is once the process has ended by itself: `code` is the module's text, and may await."""
    async with brokered(network) as (_, theirs):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-S",
            "-c",
            "import os, sys; os.dup2(int(sys.argv[1]), 5); os.execv(sys.argv[2], sys.argv[2:])",
            str(theirs.fileno()),
            node_binary(),
            "--no-deprecation",
            "--input-type=module",
            "-e",
            _module(network, code),
            cwd=cwd,
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            pass_fds=[theirs.fileno()],
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        theirs.close()
        try:
            async with asyncio.timeout(within_s):
                out, said = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert process.returncode == 0, said.decode()
    return json.loads(out)


def _module(network: Network, code: str) -> str:
    http, https = network.origin.ports
    return f"""{HEAD}
const base = {{ http: 'http://{NAME}:{http}', https: 'https://{NAME}:{https}' }}
const ports = {{ http: {http}, https: {https} }}
let answer
{code}
console.log(JSON.stringify(answer ?? null))
"""
