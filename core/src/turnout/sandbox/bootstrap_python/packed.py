"""The standard library from one file that is mapped before this process is closed in; see `turnout/sandbox/python_pack.py`.

Extension modules are opened beforehand too, all of them, and become modules when they are imported.
"""

from __future__ import annotations

import _imp
import marshal
import os
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import ExtensionFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, ModuleType
    from typing import Any

__all__ = ["close", "install"]

_loads = marshal.loads
_FAILED = 125


class _Packed:
    """Finds and loads modules of the pack."""

    def __init__(self, content: Any) -> None:
        first = content.find(b"\n")
        length = int(content[:first].split()[1])
        self._content = memoryview(content)
        self._start = first + 1 + length
        self._index: dict[str, tuple[bool, int, int]] = _loads(content[first + 1 : self._start])

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        known = self._index.get(name)
        if known is None:
            return None
        place = "/python/lib/" + name.replace(".", "/") + ("/__init__.py" if known[0] else ".py")
        spec = ModuleSpec(name, self, origin=place, is_package=known[0])  # type: ignore[arg-type]
        spec.has_location = True
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(self.get_code(module.__name__), module.__dict__)

    def get_code(self, name: str) -> CodeType:
        _, at, length = self._index[name]
        at += self._start
        return _loads(self._content[at : at + length])  # type: ignore[no-any-return]

    def is_package(self, name: str) -> bool:
        return bool(self._index[name][0])

    def get_source(self, name: str) -> None:
        return None


class _Opened:
    """Extension modules that have been opened and wait to be imported."""

    def __init__(self, directory: str, suffix: str) -> None:
        self._waiting: dict[str, tuple[ModuleSpec, ModuleType]] = {}
        for file in sorted(os.listdir(directory)):
            name = file.removesuffix(suffix)
            if name != file and name not in sys.modules:
                path = f"{directory}/{file}"
                spec = ModuleSpec(name, ExtensionFileLoader(name, path), origin=path)
                spec.has_location = True
                try:
                    self._waiting[name] = (spec, _imp.create_dynamic(spec))
                except ImportError:
                    continue  # the machine lacks its library: it has not got the module either

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        known = self._waiting.get(name)
        if known is None:
            return None
        spec = ModuleSpec(name, self, origin=known[0].origin)  # type: ignore[arg-type]
        spec.has_location = True
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._waiting[spec.name][1]

    def exec_module(self, module: ModuleType) -> None:
        _imp.exec_dynamic(module)


def install(pack: str) -> None:
    """From now on the standard library is the pack's, and no directory's."""
    import mmap  # an extension module, which lies in a directory

    with open(pack, "rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    finder: Any = _Packed(content)
    directory = next((place for place in sys.path if place.endswith("/lib-dynload") and os.path.isdir(place)), "")
    sys.meta_path[:] = [*sys.meta_path[:2], finder]
    sys.path[:] = []
    sys.path_hooks.clear()
    sys.path_importer_cache.clear()
    if directory:
        opened: Any = _Opened(directory, _imp.extension_suffixes()[0])
        sys.meta_path.append(opened)


def close(seal: str) -> None:
    """Open the seal, which closes the process in; end it where that did not happen."""
    try:  # noqa: SIM105 - contextlib takes longer to import than all of this
        _imp.create_dynamic(ModuleSpec("seal", ExtensionFileLoader("seal", seal), origin=seal))
    except ImportError:
        pass  # it is no module of Python's: it has done its work when it was opened
    try:
        os.close(os.open(seal, os.O_RDONLY))
    except OSError:
        return
    os._exit(_FAILED)
