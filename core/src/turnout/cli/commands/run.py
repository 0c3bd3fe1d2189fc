"""`turnout run`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from turnout.cli.definitions import checked
from turnout.cli.inputs import input_options, read_inputs
from turnout.cli.options import environment_option, json_option, unsafe_sandbox_option
from turnout.cli.project import load_project
from turnout.cli.running import run_flow
from turnout.cli.session import run_async
from turnout.definition import find_integrations
from turnout.errors import UserError
from turnout.local.platform import Platform
from turnout.model.definition import Integration

__all__ = ["command"]


@click.command("run")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--flow", "flow_name", metavar="NAME", help="Which flow; not needed where just one is not for others to call."
)
@click.option(
    "--payload",
    "payload_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="What `trigger.body` is: JSON, or text, or as a file what is neither.",
)
@input_options
@unsafe_sandbox_option
@json_option
@environment_option
def command(
    *,
    path: Path,
    flow_name: str | None,
    payload_file: Path | None,
    config_file: Path | None,
    assignments: Sequence[str],
    connections_file: Path | None,
    allow_unsafe_sandbox: bool,
    as_json: bool,
    environment: str | None,
) -> int:
    """Run a flow here and now, and print its record.

    PATH is a definition file or a directory with one. The record stays in `.turnout`; if this process dies,
    `turnout resume` goes on with the execution. The exit status is 0 if it succeeded, 1 if not.
    """
    settings = load_project(path, environment=environment, allow_unsafe_sandbox=allow_unsafe_sandbox)
    inputs = read_inputs(config_file, assignments, connections_file)

    def load(platform: Platform) -> Integration:
        return checked(_only(path), platform)

    return run_async(run_flow(settings, load, flow_name, payload_file, inputs, as_json=as_json))


def _only(path: Path) -> Path:
    files = find_integrations(path)
    if len(files) != 1:
        names = ", ".join(str(file) for file in files)
        raise UserError(f"{path} holds several integrations; give one of them: {names}")
    return files[0]
