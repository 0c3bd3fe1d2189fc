"""Where a syntax error is. `import()` tells it to nobody but the terminal, so a second Node is asked: on the error's way only."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from turnout.interfaces.sandbox import CodeBundle
from turnout.sandbox.node import environment, run_node
from turnout.sandbox.stacks import syntax_place

__all__ = ["find_syntax_error"]

_CHECK_S: Final = 5
_MOST_FILES: Final = 10


async def find_syntax_error(bundle: CodeBundle, module: str) -> str:
    """`file:line`, looked for in `module` and then in the bundle's other sources, without running any; empty if not found."""
    if bundle.language != "javascript":
        return ""
    root = Path(bundle.directory)
    others = sorted(path.name for path in root.glob("*.*js") if path.name != module)
    for name in (module, *others[:_MOST_FILES]):
        place = syntax_place(await _checked(root / name), bundle)
        if place:
            return place
    return ""


async def _checked(path: Path) -> str:
    try:
        _, said = await run_node("--check", str(path), cwd=path.parent, env=environment(), within_s=_CHECK_S)
    except TimeoutError:
        return ""
    return said
