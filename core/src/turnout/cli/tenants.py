"""What the commands on customers and what is theirs have in common."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from turnout.cli.inputs import read_inputs
from turnout.cli.project import load_project
from turnout.cli.session import platform_of, run_async
from turnout.errors import SettingsError, UserError
from turnout.local.platform import Platform

__all__ = ["confirmed", "in_platform", "pairs", "read_config", "secret_text"]

T = TypeVar("T")


def in_platform(environment: str | None, work: Callable[[Platform], Awaitable[T]]) -> T:
    """What `work` makes of the project's platform."""

    async def run() -> T:
        async with platform_of(load_project(environment=environment)) as platform:
            return await work(platform)

    return run_async(run())


def confirmed(question: str, *, yes: bool) -> None:
    """Ask, unless `yes`. `UserError` where nobody can be asked, or the answer is no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError("nobody can be asked here: say --yes")
    if not click.confirm(question):
        raise UserError("nothing was deleted")


def pairs(given: Sequence[str]) -> dict[str, str]:
    """`KEY=VALUE` each. `UserError` names one that is not."""
    found = {}
    for item in given:
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise UserError(f"{item!r}: KEY=VALUE is needed")
        found[key.strip()] = value
    return found


def read_config(file: Path | None, assignments: Sequence[str]) -> Mapping[str, Any]:
    """Config values from a file and from `--set`. `SettingsError` as `read_inputs`."""
    return read_inputs(file, assignments, None).config


def secret_text(name: str) -> str:
    """A secret field's text: asked for without echo, or read from standard input. `SettingsError` if there is none."""
    text = (
        click.prompt(name, hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline().removesuffix("\n")
    )
    if not text:
        raise SettingsError(f"{name}: nothing was given", setting=name)
    return str(text)
