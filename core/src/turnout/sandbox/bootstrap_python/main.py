"""Where a sandboxed Python begins: loads what stands beside it, and serves.

Each module gets builtins of its own: replacing `builtins.len` or `builtins.isinstance` must not change how a result is
written or a limit is kept. What they need of other modules they take when they are loaded, before any customer code runs.
"""

from __future__ import annotations

import builtins
import sys
from _frozen_importlib import module_from_spec
from _frozen_importlib_external import SourceFileLoader, spec_from_file_location

_PACKAGE = "turnout_bootstrap"
_MODULES = (
    "",
    ".channel",
    ".network",
    ".hooks",
    ".logs",
    ".errors",
    ".files",
    ".values",
    ".bundle",
    ".modules",
    ".worker",
)


def _load(name: str, path: str, places: list[str] | None = None) -> None:
    spec = spec_from_file_location(name, path, submodule_search_locations=places)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    module.__dict__["__builtins__"] = dict(vars(builtins))
    sys.modules[name] = module
    spec.loader.exec_module(module)


def _code(path: str) -> object:
    """Of a module that is run later, when no file can be opened."""
    return SourceFileLoader("later", path).get_code("later")


def _boot() -> None:
    """Arguments, for a process that is to be closed in: the seal (`-` for none), and the packed standard library."""
    here = __file__.rpartition("/")[0]
    sealed = len(sys.argv) > 1
    if sealed:
        _load(f"{_PACKAGE}.packed", f"{here}/packed.py")
        packed = sys.modules.pop(f"{_PACKAGE}.packed")
        packed.install(sys.argv[2])
    for module in _MODULES:
        file = module[1:] or "__init__"
        _load(_PACKAGE + module, f"{here}/{file}.py", None if module else [])
        if module:
            setattr(sys.modules[_PACKAGE], module[1:], sys.modules[_PACKAGE + module])
    serve = sys.modules[f"{_PACKAGE}.worker"].serve
    later = [_code(f"{here}/{name}.py") for name in ("loops", "egress")] if sealed else []
    for module in _MODULES:
        del sys.modules[_PACKAGE + module]
    seal = sys.argv[1] if sealed else ""
    sys.argv = [""]
    if sealed and seal != "-":
        packed.close(seal)
    serve(*later)


_boot()
