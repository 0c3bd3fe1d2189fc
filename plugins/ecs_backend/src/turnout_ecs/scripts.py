"""Lua scripts as files: one operation each, in the folders of this package.

The first lines of a file are its header: what it does, `keys:` with the names of its keys in order, `args:` with the
names of its arguments, `reply:`, and optionally `safe: yes` if running it twice is the same as running it once, and
`full: runs` if it is to run when the server has no memory left as well. Keys and arguments become local variables of the
script by these names. A line `-- use: name ...` stands for the files of these names: a script that is mostly done before it
needs them has it further down, since each run makes their functions anew.

A server above `maxmemory` refuses commands that may take memory. New work is refused so; what is there must go on, since
only that gives memory back.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

__all__ = ["Script", "load"]

_RUNS_WHEN_FULL: Final = "redis.call('PERSIST', KEYS[1])"
"""A write that takes no memory, of a key that lives for ever: Redis refuses no other once a script has written."""

_USE: Final = re.compile(r"^ *-- use: (.*)$", re.MULTILINE)


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
    keys, args = tuple(header.get("keys", "").split()), tuple(header.get("args", "").split())
    whole = _with_used(body, path.rpartition("/")[0])
    first = _RUNS_WHEN_FULL if header.get("full") == "runs" else ""
    lines = [_locals(keys, "KEYS"), _locals(args, "ARGV"), first, whole]
    source = "\n".join(line for line in lines if line).encode()
    sha = hashlib.sha1(source, usedforsecurity=False).hexdigest().encode()
    return Script(name=path, keys=keys, args=args, source=source, safe=header.get("safe") == "yes", sha=sha)


def _with_used(text: str, folder: str) -> str:
    def one(used: re.Match[str]) -> str:
        return "\n".join(_with_used(_read(f"{folder}/{name}.lua")[1], folder) for name in used[1].split())

    return _USE.sub(one, text)


def _read(path: str) -> tuple[dict[str, str], str]:
    text = files("turnout_ecs").joinpath(path).read_text("utf-8")
    header: dict[str, str] = {}
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        name, colon, rest = line.removeprefix("--").strip().partition(":")
        if colon and name in {"keys", "args", "reply", "safe", "full"}:
            header[name] = rest.strip()
    return header, text


def _locals(names: tuple[str, ...], table: str) -> str:
    named = [name for name in names if not name.endswith("...")]
    if not named:
        return ""
    return f"local {', '.join(named)} = {', '.join(f'{table}[{n}]' for n in range(1, len(named) + 1))}"
