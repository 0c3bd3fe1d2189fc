"""`turnout config`."""

from __future__ import annotations

import click

from turnout.cli.options import environment_option, json_option
from turnout.cli.output import emit, print_table
from turnout.cli.project import load_project
from turnout.config import effective_settings

__all__ = ["command"]


@click.group("config")
def command() -> None:
    """Show what the project's settings come to."""


@command.command("show")
@click.argument("prefix", required=False, default="")
@click.option("--changed", is_flag=True, help="Without the settings that are as they are by default.")
@json_option
@environment_option
def show(*, prefix: str, changed: bool, as_json: bool, environment: str | None) -> None:
    """Show the effective value of each setting, and where it comes from: the default, or a line of turnout.toml.

    PREFIX narrows it down: `stores`, `runner.sandbox`. Secrets are shown by their references alone.
    """
    settings = load_project(environment=environment)
    found = [
        one
        for one in effective_settings(settings.root, environment=environment)
        if (not prefix or one.name == prefix or one.name.startswith(f"{prefix}."))
        and not (changed and one.line is None)
    ]
    if not found and prefix and not changed:
        raise click.UsageError(f"no setting is called {prefix!r} or begins with it: `turnout config show` lists all")
    if as_json:
        emit([{"name": one.name, "value": one.value, "from": one.origin} for one in found], as_json=True)
        return
    print_table(("SETTING", "VALUE", "FROM"), [(one.name, one.value or "-", one.origin) for one in found])
