"""Python's standard library as one file, for processes that can open none once they run customers' code.

    turnout-stdlib-1 <bytes of the index>
    {"<module>": (<is a package>, <at>, <bytes>), …}, marshalled
    <the modules' code, marshalled, one after another>

A process maps it before it is closed in: the pages are shared by all that do. What the interpreter needs to begin and its
extension modules stay files. `bootstrap_python/packed.py` reads it.
"""

from __future__ import annotations

import importlib.util
import marshal
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Final

from turnout.errors import BackendError

__all__ = ["compiled", "extension_modules", "pack", "standard_library"]

_FORMAT: Final = b"turnout-stdlib-1"
_UNCHECKED: Final = (1).to_bytes(4, "little")
"""The flags of a `.pyc` that is taken without a look at its source (PEP 552)."""
_LEFT_OUT: Final = frozenset(
    {
        *("test", "tests", "idlelib", "tkinter", "turtle", "turtledemo", "lib2to3", "ensurepip", "venv", "pydoc_data"),
        *("site-packages", "lib-dynload", "__pycache__", "curses", "dbm", "sqlite3", "ctypes", "msilib", "antigravity"),
    }
)
_NOT_LOADED: Final = (
    "_test",
    "_xx",
    "xx",
    "_asyncio",
    "_crypt",
    "_ctypes",
    "_curses",
    "_dbm",
    "_gdbm",
    "_hashlib",
    "_sqlite3",
)
_NOT_LOADED_EITHER: Final = (
    "_ssl",
    "_tkinter",
    "audioop",
    "nis",
    "ossaudiodev",
    "readline",
    "spwd",
    "syslog",
    "_multiproc",
    "_posixshm",
)


def standard_library() -> Path:
    """The directory of this interpreter's own modules."""
    return Path(sysconfig.get_path("stdlib"))


def extension_modules() -> Iterator[tuple[str, Path]]:
    """Names and files of the standard library's extension modules that code may use: none that opens a way to the machine,
    loads libraries or needs a terminal. An interpreter that has them built in has none."""
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    directory = standard_library() / "lib-dynload"
    for file in sorted(directory.glob(f"*{suffix}")) if directory.is_dir() else ():
        name = file.name.removesuffix(suffix)
        if not name.startswith((*_NOT_LOADED, *_NOT_LOADED_EITHER)):
            yield name, file


def compiled(source: Path, inside: str) -> bytes:
    """The content of the `.pyc` for a module, whose path is `inside` where it will be."""
    return importlib.util.MAGIC_NUMBER + _UNCHECKED + bytes(8) + marshal.dumps(_code(source, inside))


def pack() -> bytes:
    """The standard library of this interpreter."""
    root = standard_library()
    if not (root / "os.py").is_file():
        raise BackendError(f"Python's standard library is not at {root}")
    index: dict[str, tuple[bool, int, int]] = {}
    contents: list[bytes] = []
    at = 0
    for name, file in _modules(root, ""):
        code = marshal.dumps(_code(file, f"/python/lib/{file.relative_to(root).as_posix()}"))
        index[name] = (file.name == "__init__.py", at, len(code))
        contents.append(code)
        at += len(code)
    encoded = marshal.dumps(index)
    return b"%b %d\n%b%b" % (_FORMAT, len(encoded), encoded, b"".join(contents))


def _code(source: Path, inside: str) -> CodeType:
    """Code at the level of optimisation of the processes, which is none."""
    try:
        return compile(source.read_bytes(), inside, "exec", dont_inherit=True, optimize=0)
    except (OSError, SyntaxError, ValueError) as error:
        raise BackendError(f"{source} of Python {sys.version_info.major}.{sys.version_info.minor}: {error}") from error


def _modules(folder: Path, package: str) -> Iterator[tuple[str, Path]]:
    for entry in sorted(folder.iterdir()):
        name = entry.name
        if entry.is_dir() and name not in _LEFT_OUT and name.isidentifier() and (entry / "__init__.py").is_file():
            yield f"{package}{name}", entry / "__init__.py"
            yield from _modules(entry, f"{package}{name}.")
        elif name.endswith(".py") and name != "__init__.py" and name[:-3] not in _LEFT_OUT:
            yield f"{package}{name[:-3]}", entry
