"""Programs that are run to their end: npm, pip."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

__all__ = ["run_program"]


async def run_program(
    *command: str, cwd: Path, env: Mapping[str, str] | None = None, within_s: float
) -> tuple[int, str]:
    """Run it without input: its exit status and what it wrote to standard error. `env` is this process's if it is not given.

    `TimeoutError` when it takes longer; like everything that ends the wait, that kills it.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(within_s):
            _, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, said.decode("utf-8", "replace")
