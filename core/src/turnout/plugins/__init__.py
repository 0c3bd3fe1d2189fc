"""Plugins: found by entry point, checked against their contract, asked for what they provide.

    registry = load_plugins()
    registry.connectors["http"], registry.find(Kind.SANDBOXES, "process")

A plugin that cannot be loaded or breaks its contract is a `PluginFailure`; everything else keeps working.
"""

from turnout.plugins.contracts import Kind
from turnout.plugins.discovery import GROUP, Plugin, PluginFailure
from turnout.plugins.registry import Registry, load_plugins

__all__ = ["GROUP", "Kind", "Plugin", "PluginFailure", "Registry", "load_plugins"]
