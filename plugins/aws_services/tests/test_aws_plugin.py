"""The plugin itself."""

from __future__ import annotations

from turnout.plugins import load_plugins


def test_it_is_installed_and_loads() -> None:
    registry = load_plugins()

    assert "aws" in {plugin.name for plugin in registry.plugins}
    assert not registry.failures
