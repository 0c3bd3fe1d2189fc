"""Options that several commands share, so that each is called and described the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["environment_option", "json_option", "unsafe_sandbox_option"]

F = TypeVar("F", bound=Callable[..., Any])


def json_option(function: F) -> F:
    """`--json`: the command gets `as_json`; errors are JSON too, see `turnout.cli.faults`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, errors on stderr included.")(function)


def environment_option(function: F) -> F:
    """`--env NAME`: the command gets `environment`, None where TURNOUT_ENV or the default is meant."""
    return click.option(
        "--env", "environment", metavar="NAME", help="Environment of turnout.toml (or the variable TURNOUT_ENV)."
    )(function)


def unsafe_sandbox_option(function: F) -> F:
    """`--allow-unsafe-sandbox`: the command gets `allow_unsafe_sandbox`, for `load_project`."""
    return click.option(
        "--allow-unsafe-sandbox",
        is_flag=True,
        help="Run code of several customers although the sandbox does not keep them apart: for development alone.",
    )(function)
