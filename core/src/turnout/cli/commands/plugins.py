"""`turnout plugins`."""

from __future__ import annotations

from typing import Any

import click

from turnout.cli.faults import printable
from turnout.cli.options import environment_option, json_option
from turnout.cli.output import emit, print_table
from turnout.cli.project import load_project, load_registry
from turnout.plugins import Kind, Registry

__all__ = ["command"]


@click.command("plugins")
@json_option
@environment_option
def command(*, as_json: bool, environment: str | None) -> None:
    """List what is installed and what it provides.

    A plugin that is broken is named with the reason, and the exit status stays 0: the others work.
    """
    registry = load_registry(load_project(environment=environment))
    listing = _listing(registry)
    if as_json:
        emit(listing, as_json=True)
        return
    print_table(
        ("PLUGIN", "DISTRIBUTION", "PROVIDES"),
        [
            (plugin["name"], f"{plugin['distribution']} {plugin['version']}".strip() or "-", _summary(plugin))
            for plugin in listing["plugins"]
        ],
    )
    for failure in registry.failures:
        click.echo(printable(f"broken: {failure}"))


def _listing(registry: Registry) -> dict[str, Any]:
    plugins = {
        plugin: {
            "name": plugin.name,
            "distribution": plugin.distribution,
            "version": plugin.version,
            "provides": {kind.value: [] for kind in Kind},
        }
        for plugin in registry.plugins
    }
    for kind in Kind:
        for name, plugin in sorted(registry.provided(kind).items()):
            provides: Any = plugins[plugin]["provides"]
            provides[kind.value].append(name)
    return {
        "plugins": list(plugins.values()),
        "failures": [
            {"name": failure.name, "distribution": failure.distribution, "error": failure.error}
            for failure in registry.failures
        ],
    }


def _summary(plugin: dict[str, Any]) -> str:
    provides = plugin["provides"]
    return "; ".join(f"{kind}: {', '.join(names)}" for kind, names in provides.items() if names) or "nothing"
