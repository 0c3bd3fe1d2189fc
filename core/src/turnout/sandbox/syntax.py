"""Where a syntax error is. `import()` tells it to nobody but the terminal, so a second Node is asked: on the error's way only."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from turnout.interfaces.sandbox import CodeBundle
from turnout.sandbox.node import environment, run_node
from turnout.sandbox.stacks import syntax_place

__all__ = ["find_syntax_error"]

_CHECK_S: Final = 5.0
_MOST_FILES: Final = 10
_LARGEST_BYTES: Final = 512 * 1024
_MEMORY: Final = "--max-old-space-size=128"


async def find_syntax_error(bundle: CodeBundle, module: str) -> str:
    """`file:line`, looked for in `module` and then in the bundle's other sources, without running any; empty if not found.

    This Node is in no sandbox, and code can have it started at will: what it may take is little, for all files together.
    """
    if bundle.language != "javascript":
        return ""
    root = Path(bundle.directory)
    others = sorted(path.name for path in root.glob("*.*js") if path.name != module)
    try:
        async with asyncio.timeout(_CHECK_S):
            for name in (module, *others[:_MOST_FILES]):
                if place := syntax_place(await _checked(root / name), bundle):
                    return place
    except TimeoutError:
        pass
    return ""


async def _checked(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            return ""
    except OSError:
        return ""
    _, said = await run_node(_MEMORY, "--check", str(path), cwd=path.parent, env=environment(), within_s=_CHECK_S)
    return said
