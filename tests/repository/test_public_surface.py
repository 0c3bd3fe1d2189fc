"""The public surface is a list that someone maintains: it is true, and nothing of ours goes round it."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [ROOT / "core" / "src", *sorted((ROOT / "plugins").glob("*/src"))]
WRITTEN_BY_HAND = [*SOURCES, *(ROOT / name for name in ("core/tests", "tests", "tools", "examples", "benchmarks"))]


def _modules() -> dict[str, Path]:
    """Every module of every distribution, by its name."""
    found = {}
    for source in SOURCES:
        for path in sorted(source.rglob("*.py")):
            parts = path.relative_to(source).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return {name: path for name, path in found.items() if "templates" not in name}


MODULES = _modules()
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}


def _listed(name: str) -> list[str] | None:
    """The module's `__all__`, without importing it."""
    for node in TREES[name].body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                return list(ast.literal_eval(value))
            case ast.AnnAssign(target=ast.Name(id="__all__"), value=ast.expr() as value):
                return list(ast.literal_eval(value))
    return None


def _imports_of_ours() -> Iterator[tuple[str, str, str]]:
    """Who imports which name from which module of ours; modules taken from a package are no names of it."""
    for importer, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module in MODULES:
                for alias in node.names:
                    if f"{node.module}.{alias.name}" not in MODULES:
                        yield importer, node.module, alias.name


@pytest.mark.parametrize("name", [name for name in MODULES if _listed(name)])
def test_what_a_module_lists_is_there(name: str) -> None:
    module = importlib.import_module(name)

    assert [listed for listed in module.__all__ if not hasattr(module, listed)] == []


def test_modules_import_from_each_other_what_is_listed_and_nothing_private() -> None:
    beside = {
        f"{importer} imports {name} from {module}"
        for importer, module, name in _imports_of_ours()
        if name not in (_listed(module) or ())
    }

    assert beside == set()


def test_what_the_package_gives_lazily_is_what_type_checkers_see() -> None:
    turnout = importlib.import_module("turnout")
    [checked] = [node for node in TREES["turnout"].body if isinstance(node, ast.If)]
    homes = {
        alias.name: node.module for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }

    assert sorted(homes) == sorted(turnout.__all__)
    for name, home in homes.items():
        assert getattr(turnout, name) is getattr(importlib.import_module(str(home)), name)
    assert set(turnout.__all__) <= set(dir(turnout))
    assert not hasattr(turnout, "a_name_that_is_not_there")


def test_every_module_says_why_it_exists() -> None:
    files = [path for folder in WRITTEN_BY_HAND for path in folder.rglob("*.py")]
    files += ROOT.glob("plugins/*/tests/**/*.py")
    ours = [path for path in files if not {"templates", ".turnout", "node_modules"} & set(path.parts)]

    silent = [str(path.relative_to(ROOT)) for path in ours if ast.get_docstring(ast.parse(path.read_text())) is None]

    assert len(ours) > 200
    assert silent == []
