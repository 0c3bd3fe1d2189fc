"""`turnout service`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from turnout.cli.inputs import input_options, read_inputs
from turnout.cli.options import environment_option, json_option, unsafe_sandbox_option
from turnout.cli.project import load_project, load_registry
from turnout.cli.session import run_async
from turnout.definition.nearest import hint_for
from turnout.errors import UserError
from turnout.local.services import WORKER_SERVICES, service_shapes

__all__ = ["command"]


@click.group("service")
def command() -> None:
    """Run one service alone."""


@command.command("run")
@click.argument("name")
@click.option("--port", default=8400, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@input_options
@unsafe_sandbox_option
@json_option
@environment_option
def run(
    *,
    name: str,
    port: int,
    host: str,
    config_file: Path | None,
    assignments: Sequence[str],
    connections_file: Path | None,
    allow_unsafe_sandbox: bool,
    as_json: bool,
    environment: str | None,
) -> int:
    """Run the service NAME here, wherever the settings place it, until asked to stop.

    Its routes are answered at this address, and it does what it does by the clock and by the event stream. `turnout services`
    lists the names. The runner is what `turnout worker` runs, with what belongs to it.
    """
    from turnout.cli.served import Served

    settings = load_project(environment=environment, allow_unsafe_sandbox=allow_unsafe_sandbox)
    names = [shape.name for shape in run_async(service_shapes(settings, load_registry(settings)))]
    if name in WORKER_SERVICES:
        raise UserError(f"{name!r} runs in workers: start one with `turnout worker`")
    if name not in names:
        hint = hint_for(name, names)
        raise UserError(f"no service {name!r}: {hint or f'there are {chr(44).join(names)}'}")
    inputs = read_inputs(config_file, assignments, connections_file)
    return run_async(Served(settings, name, inputs, as_json=as_json).run(host, port))
