"""What a program needs to start: the interpreter that it names, and the shared libraries that one finds for it."""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path
from typing import BinaryIO, Final

from turnout.errors import BackendError

__all__ = ["interpreter", "libraries"]

_PT_INTERP: Final = 3
_LONGEST: Final = 4096
_LISTED: Final = re.compile(r"^\s*(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)$")
_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT: Final = struct.Struct("<IIQQQQQQ")


def interpreter(program: Path) -> str:
    """The path of the loader that a 64-bit little-endian ELF program names; empty where it is linked statically.

    `BackendError` for anything else.
    """
    try:
        with program.open("rb") as file:
            return _interpreter(file)
    except (OSError, struct.error, ValueError) as error:
        raise BackendError(f"{program} is no program of this machine that can be read: {error}") from error


def libraries(program: Path, loader: str) -> tuple[str, ...]:
    """The shared libraries of a program or of another library, by the paths under which `loader` finds them, and the
    loader itself. `BackendError` has its words where it does not, which name a library that is missing."""
    listed = subprocess.run(  # noqa: S603 - the loader is that of a program which we install
        [loader, "--list", str(program)],
        env={},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    if listed.returncode:
        raise BackendError(f"{loader} cannot load {program}: {listed.stderr.strip() or 'it does not say why'}")
    found = {match[1] for line in listed.stdout.splitlines() if (match := _LISTED.match(line))}
    return tuple(sorted({loader, *found}))


def _interpreter(file: BinaryIO) -> str:
    header = _HEADER.unpack(file.read(_HEADER.size))
    identity, table, size, count = header[0], header[5], header[9], header[10]
    if not identity.startswith(b"\x7fELF\x02\x01"):
        raise ValueError("not a 64-bit little-endian ELF file")
    for at in range(count):
        file.seek(table + at * size)
        kind, _, offset, _, _, length, _, _ = _SEGMENT.unpack(file.read(_SEGMENT.size))
        if kind == _PT_INTERP:
            if length > _LONGEST:
                raise ValueError("the name of its interpreter is too long")
            file.seek(offset)
            return file.read(length).rstrip(b"\0").decode()
    return ""
