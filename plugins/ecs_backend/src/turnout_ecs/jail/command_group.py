"""`turnout jail`, by its name and its line in the help alone: `turnout --help` must not load what it works with."""

from __future__ import annotations

from collections.abc import Mapping

import click

__all__ = ["command"]


class _Commands(click.Group):
    """The group of `turnout_ecs.jail.commands`, which is imported when one of them is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_loaded())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return _loaded().get(cmd_name)


def _loaded() -> Mapping[str, click.Command]:
    from turnout_ecs.jail.commands import COMMANDS

    return COMMANDS


command = _Commands("jail", help="Build and check the tree that sandboxes are locked into.")
