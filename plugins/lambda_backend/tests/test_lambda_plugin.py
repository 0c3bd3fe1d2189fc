"""The plugin itself."""

from __future__ import annotations

from turnout.plugins import load_plugins


def test_it_is_installed_and_loads() -> None:
    registry = load_plugins()

    assert "lambda" in {plugin.name for plugin in registry.plugins}
    assert not registry.failures
    assert "payloads:s3" in registry.stores
