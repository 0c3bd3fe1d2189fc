"""Every distribution keeps its side of the walls: what core loads, what plugins may know, what each brings along."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))

CORE = ROOT / "core" / "src" / "turnout"
LOAD = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"
SHOW = "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
HEAVY = {"boto3", "botocore", "redis", "chalice", "psycopg", "psycopg2", "httpx", "aiohttp"}
"""Clients of clouds and servers: plugins bring them."""
TESTING = {"pytest", "_pytest", "hypothesis"}


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    """The top-level modules in a process that has imported all of core but `turnout.testing`, and what sandboxed processes run."""
    files = [path.relative_to(CORE.parent).with_suffix("") for path in CORE.rglob("*.py")]
    ours = [file for file in files if not {"testing", "templates", "bootstrap_python"} & set(file.parts)]
    names = sorted({".".join(file.parts).removesuffix(".__init__") for file in ours})
    return set(_run(f"{LOAD}; {SHOW}", *names).split())


def test_core_runs_without_clients_of_clouds_and_servers(loaded: set[str]) -> None:
    assert "turnout" in loaded
    assert loaded & HEAVY == set()


def test_core_runs_without_what_tests_are_written_with(loaded: set[str]) -> None:
    assert loaded & TESTING == set()


def test_core_knows_no_distribution_of_plugins(loaded: set[str]) -> None:
    packages = {source.name for plugin in PLUGINS for source in (plugin / "src").iterdir() if source.is_dir()}

    assert packages
    assert loaded & packages == set()


def test_the_manual_clock_needs_no_extra() -> None:
    without = "import sys; sys.modules.update(pytest=None, hypothesis=None)"

    assert (
        _run(f"{without}; from turnout.testing.clock import ManualClock; print(ManualClock(start=7.0).now())")
        == "7.0\n"
    )


def test_the_linter_of_imports_knows_every_distribution() -> None:
    linter = _toml(ROOT)["tool"]["importlinter"]
    packages = {source.name for plugin in PLUGINS for source in (plugin / "src").glob("*/")}
    walls = {name for contract in linter["contracts"] for name in contract.get("source_modules", ())}

    assert {"turnout", *packages} == set(linter["root_packages"])
    assert {"turnout", *packages} <= walls


def test_the_type_checker_knows_every_distribution() -> None:
    paths = {str((folder / "src").relative_to(ROOT)) for folder in (ROOT / "core", *PLUGINS)}

    assert set(_toml(ROOT)["tool"]["mypy"]["mypy_path"]) == paths


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_a_plugin_registers_itself_and_carries_types_tests_and_a_readme(plugin: Path) -> None:
    project = _toml(plugin)["project"]
    [package] = [path for path in (plugin / "src").glob("*/") if path.name.startswith("turnout_")]

    assert project["entry-points"]["turnout"]
    assert project["license"] == "Apache-2.0"
    assert any(requirement.startswith("turnout") for requirement in project["dependencies"])
    assert (package / "py.typed").is_file()
    assert (plugin / project["readme"]).is_file()
    assert list((plugin / "tests").glob("test_*.py"))


def _toml(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text())


def _run(code: str, *arguments: str) -> str:
    """What the code prints in a process of its own, away from this checkout."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd="/").stdout
