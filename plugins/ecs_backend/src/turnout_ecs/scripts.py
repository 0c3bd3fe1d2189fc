"""Lua scripts as files: one operation each, in the folders of this package.

The first lines of a file are its header: what it does, `keys:` with the names of its keys in order, `args:` with the
names of its arguments, `reply:`, and optionally `use:` with the files it builds on and `safe: yes` if running it twice is
the same as running it once. Keys and arguments become local variables of the script by these names.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

__all__ = ["Script", "load"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """`keys` are the names of its keys, in order; a key's full name has them after the hash tag."""

    name: str
    keys: tuple[str, ...]
    args: tuple[str, ...]
    source: bytes
    safe: bool = False
    sha: bytes = b""


@cache
def load(path: str) -> Script:
    """The script of `path`, as `queue/put.lua`."""
    header, body = _read(path)
    folder = path.rpartition("/")[0]
    used = [_read(f"{folder}/{name}.lua")[1] for name in header.get("use", "").split()]
    keys, args = tuple(header.get("keys", "").split()), tuple(header.get("args", "").split())
    lines = [_locals(keys, "KEYS"), _locals(args, "ARGV"), *used, body]
    source = "\n".join(line for line in lines if line).encode()
    sha = hashlib.sha1(source, usedforsecurity=False).hexdigest().encode()
    return Script(name=path, keys=keys, args=args, source=source, safe=header.get("safe") == "yes", sha=sha)


def _read(path: str) -> tuple[dict[str, str], str]:
    text = files("turnout_ecs").joinpath(path).read_text("utf-8")
    header: dict[str, str] = {}
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        name, colon, rest = line.removeprefix("--").strip().partition(":")
        if colon and name in {"keys", "args", "reply", "use", "safe"}:
            header[name] = rest.strip()
    return header, text


def _locals(names: tuple[str, ...], table: str) -> str:
    named = [name for name in names if not name.endswith("...")]
    if not named:
        return ""
    return f"local {', '.join(named)} = {', '.join(f'{table}[{n}]' for n in range(1, len(named) + 1))}"
