"""Plugins of installed distributions: found by entry point, blocked by name, harmless when broken."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from turnout.plugins import Kind, load_plugins

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a distribution with one plugin module on the path, as an installer would."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(distribution: str, module: str, source: str, *, version: str = "1.0") -> None:
        metadata = tmp_path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (metadata / "entry_points.txt").write_text(f"[turnout]\n{module} = {module}\n")
        (tmp_path / f"{module}.py").write_text(source)
        monkeypatch.delitem(sys.modules, module, raising=False)

    return install


PROVIDES = """
from turnout.hookspecs import hookimpl

@hookimpl
def turnout_connectors():
    from turnout.connectors import Connector
    return {{{name!r}: Connector({name!r})}}
"""


def test_a_plugin_is_known_with_its_distribution_and_version(install: Install) -> None:
    install("acme-turnout", "acme_plugin", PROVIDES.format(name="acme"), version="2.5")

    plugin = load_plugins().provided(Kind.CONNECTORS)["acme"]

    assert (plugin.name, plugin.distribution, plugin.version) == ("acme_plugin", "acme-turnout", "2.5")


def test_core_registers_its_own_backend_by_entry_point_like_anybody() -> None:
    plugins = {plugin.name: plugin.distribution for plugin in load_plugins().plugins}

    assert plugins["local"] == "turnout"
    assert "local" not in {plugin.name for plugin in load_plugins(blocked={"local"}).plugins}


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import a_module_that_is_missing", "ModuleNotFoundError"),
        ("def broken(:", "SyntaxError"),
        ("raise SystemExit('no licence')", "SystemExit: no licence"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_named_and_the_rest_works(install: Install, source: str, said: str) -> None:
    install("bad-dist", "bad_plugin", source)
    install("good-dist", "good_plugin", PROVIDES.format(name="good"))

    registry = load_plugins()

    assert "good" in registry.connectors
    (failure,) = [failure for failure in registry.failures if failure.distribution == "bad-dist"]
    assert failure.name == "bad_plugin"
    assert said in failure.error


def test_core_is_asked_first_and_the_others_by_name_so_that_the_first_of_two_equal_names_is_always_the_same(
    install: Install,
) -> None:
    install("zzz", "a_plugin", PROVIDES.format(name="shared"))
    install("aaa", "z_plugin", PROVIDES.format(name="shared"))

    registry = load_plugins()

    distributions = [plugin.distribution for plugin in registry.plugins]
    assert distributions[:2] == ["turnout", "aaa"]
    assert distributions[-1] == "zzz"
    assert registry.provided(Kind.CONNECTORS)["shared"].distribution == "aaa"
