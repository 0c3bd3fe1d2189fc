"""Where a sandboxed Python begins: loads what stands beside it, and serves.

Each module gets builtins of its own: replacing `builtins.len` or `builtins.isinstance` must not change how a result is
written or a limit is kept. What they need of other modules they take when they are loaded, before any customer code runs.
"""

from __future__ import annotations

import builtins
import sys
from importlib.util import module_from_spec, spec_from_file_location

_PACKAGE = "turnout_bootstrap"
_MODULES = ("", ".channel", ".network", ".logs", ".errors", ".files", ".values", ".modules", ".worker")


def _load(name: str, path: str, places: list[str] | None = None) -> None:
    spec = spec_from_file_location(name, path, submodule_search_locations=places)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    module.__dict__["__builtins__"] = dict(vars(builtins))
    sys.modules[name] = module
    spec.loader.exec_module(module)


def _boot() -> None:
    here = __file__.rpartition("/")[0]
    for module in _MODULES:
        file = module[1:] or "__init__"
        _load(_PACKAGE + module, f"{here}/{file}.py", None if module else [])
        if module:
            setattr(sys.modules[_PACKAGE], module[1:], sys.modules[_PACKAGE + module])
    serve = sys.modules[f"{_PACKAGE}.worker"].serve
    for module in _MODULES:
        del sys.modules[_PACKAGE + module]
    sys.argv = [""]
    serve()


_boot()
