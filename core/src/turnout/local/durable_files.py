"""Files that are whole and on the disk, or not there at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from turnout.errors import BackendError

__all__ = ["flush", "replace_file", "write_new"]


def replace_file(path: Path, content: bytes) -> None:
    """Write a file that its owner alone can read, all or nothing, on the disk when this returns."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        write_new(new, content)
        new.replace(path)
        flush(path.parent)
    except OSError as error:
        raise BackendError(f"{path}: {error.strerror or error}") from error
    finally:
        new.unlink(missing_ok=True)


def write_new(path: Path, content: bytes) -> None:
    """Make a file that its owner alone can read, its content on the disk. `FileExistsError` where there is one."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def flush(path: Path) -> None:
    """Wait until a file's content, or which files a folder has, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
