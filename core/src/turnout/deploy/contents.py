"""What a directory holds, as one digest: the address of a build context."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

__all__ = ["digest_of_directory"]

_OWNER_EXECUTES: Final = 0o100


def digest_of_directory(directory: Path) -> str:
    """SHA-256 of every file's path in it, of whether it may be executed, and of its content; of nothing else: not of when it
    was written, nor by whom. Directories without a file do not count. `OSError` where one cannot be read."""
    whole = hashlib.sha256()
    for path in sorted(directory.rglob("*"), key=lambda path: path.relative_to(directory).parts):
        if path.is_dir():
            continue
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        executed = bool(path.stat().st_mode & _OWNER_EXECUTES)
        whole.update(f"{content} {'x' if executed else '-'} {path.relative_to(directory).as_posix()}\0".encode())
    return whole.hexdigest()
