"""`turnout connections`: accounts of customers."""

from __future__ import annotations

import click

from turnout.cli.commands.connecting import connect

__all__ = ["command"]


@click.group("connections")
def command() -> None:
    """Connect customers' accounts."""


command.add_command(connect)
