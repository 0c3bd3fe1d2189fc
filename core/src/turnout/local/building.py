"""Directories that are named by their content: made beside their place and renamed, so that each is there as a whole or not."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from turnout.errors import BackendError

__all__ = ["building"]


@contextmanager
def building(target: Path, failed: str) -> Iterator[Path]:
    """An empty directory, which becomes `target` when the block has ended well, and is gone otherwise. Whoever comes second
    finds the same content there. `BackendError` begins with `failed` where the disk does not take it."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".building-", dir=target.parent))
        try:
            yield work
            work.chmod(0o755)
            _rename(work, target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise BackendError(f"{failed}: {error.strerror}") from error


def _rename(work: Path, target: Path) -> None:
    try:
        work.rename(target)
    except OSError:
        if not target.is_dir():
            raise
