"""Imports: of the bundle, of the standard library, and of the bundle's layer of wheels, in this order; of nothing else."""

from __future__ import annotations

import os
import sys
from _frozen_importlib import module_from_spec
from _frozen_importlib_external import spec_from_file_location
from _thread import _count

from . import bundle as bundles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

__all__ = ["enter", "enter_virtual", "load", "renew"]

_LAYER = "site-packages"
_modules, _chdir = sys.modules, os.chdir
_standard = tuple(sys.path)
_standard_finder = sys.meta_path[2]
"""The first that has the standard library, after what is built in and what is frozen."""


class _Bundle:
    directory = ""
    finder: Any = None


_bundle = _Bundle()
_loaded: dict[str, ModuleType] = {}


def enter(directory: str) -> None:
    """From now on imports are those of the bundle in `directory`."""
    if directory == _bundle.directory:
        return
    _bundle.directory = directory
    sys.path[:] = [directory, *_standard, f"{directory}/{_LAYER}"]
    _chdir(directory)


def enter_virtual(directory: str) -> None:
    """The same where no file can be opened: the bundle comes over the channel."""
    _bundle.directory = directory
    files = bundles.Bundle(directory)
    _bundle.finder = bundles.Modules(files)
    layer: Any = bundles.Modules(files, _LAYER, compiled=True)
    sys.meta_path.insert(sys.meta_path.index(_standard_finder), _bundle.finder)
    sys.meta_path.append(layer)


def _spec_of(name: str, module: str) -> ModuleSpec | None:
    path = f"{_bundle.directory}/{module}"
    return _bundle.finder.spec_of(name, module) if _bundle.finder else spec_from_file_location(name, path)


def load(module: str) -> ModuleType:
    """The module of that file, loaded once. What loading raises is raised."""
    known = _loaded.get(module)
    if known is not None:
        return known
    path = f"{_bundle.directory}/{module}"
    name = module.removesuffix(".py").replace("/", ".")
    taken = _modules.get(name)
    if taken is not None and getattr(taken, "__file__", None) == path:
        _loaded[module] = taken
        return taken
    if taken is not None or name.count(".") != module.count("/"):
        name = f"step:{module}"  # no import means it: the standard library's, or a file name with dots
    spec = _spec_of(name, module)
    assert spec is not None
    assert spec.loader is not None
    made = module_from_spec(spec)
    _modules[name] = made
    try:
        spec.loader.exec_module(made)
    except BaseException:
        _modules.pop(name, None)
        raise
    _loaded[module] = made
    return made


def renew() -> bool:
    """Forget the modules of the bundle and its layer. False where that leaves something behind: threads that run, and extension
    modules, which cannot be loaded anew."""
    own = [name for name, module in _modules.items() if _is_own(module)]
    native = any(str(_modules[name].__file__).endswith(".so") for name in own)
    for name in own:
        del _modules[name]
    _loaded.clear()
    return not native and _count() == 0


def _is_own(module: object) -> bool:
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and file.startswith(f"{_bundle.directory}/")
