"""The zip that functions run: the same bytes for the same content, with compiled modules, for nothing can be compiled there."""

from __future__ import annotations

import compileall
import py_compile
import zipfile
from pathlib import Path
from typing import Final

__all__ = ["MOST_BYTES", "pack", "unpack"]

MOST_BYTES: Final = 250 * 1024 * 1024
"""Of an unpacked package (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html)."""
_TASK_ROOT: Final = "/var/task"
_TIME: Final = (1980, 1, 1, 0, 0, 0)
_FILE: Final = 0o644
_LIBRARY: Final = 0o755


def unpack(archive: Path, directory: Path) -> None:
    with zipfile.ZipFile(archive) as content:
        content.extractall(directory)


def pack(directory: Path, archive: Path) -> int:
    """Compile what is in `directory`, and write all of it; bytes unpacked."""
    compileall.compile_dir(
        directory,
        quiet=2,  # what is not Python of this version, a template say, is left as it is
        force=True,
        stripdir=str(directory),
        prependdir=_TASK_ROOT,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    size = 0
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as content:
        for path in sorted(directory.rglob("*")):
            if not path.is_file():
                continue
            entry = zipfile.ZipInfo(path.relative_to(directory).as_posix(), _TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (_LIBRARY if ".so" in path.suffixes else _FILE) << 16
            data = path.read_bytes()
            size += len(data)
            content.writestr(entry, data)
    return size
