"""`turnout serve`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from turnout.cli.inputs import input_options, read_inputs
from turnout.cli.options import environment_option, json_option, unsafe_sandbox_option
from turnout.cli.project import load_project
from turnout.cli.served import Served
from turnout.cli.session import run_async

__all__ = ["command"]


@click.command("serve")
@click.option("--port", default=8400, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@input_options
@unsafe_sandbox_option
@json_option
@environment_option
def command(
    *,
    port: int,
    host: str,
    config_file: Path | None,
    assignments: Sequence[str],
    connections_file: Path | None,
    allow_unsafe_sandbox: bool,
    as_json: bool,
    environment: str | None,
) -> int:
    """Serve everything but the runner on this machine; workers run the executions.

    `turnout services` lists what there is, `turnout service run NAME` serves one of them alone. Each integration of the
    project has an instance of its own name, as it is now: nothing is reloaded.
    """
    settings = load_project(environment=environment, allow_unsafe_sandbox=allow_unsafe_sandbox)
    inputs = read_inputs(config_file, assignments, connections_file)
    serving = Served(settings, "", inputs, as_json=as_json)
    return run_async(serving.run(host, port))
