"""`turnout run`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import click

from turnout.cli.definitions import checked, chosen_flow, deploy
from turnout.cli.faults import FAILED
from turnout.cli.inputs import RunInputs, input_options, read_inputs, read_payload
from turnout.cli.live import LiveView
from turnout.cli.options import environment_option, json_option, unsafe_sandbox_option
from turnout.cli.output import console, emit
from turnout.cli.project import load_project
from turnout.cli.session import platform_of, run_async
from turnout.cli.watching import print_record, telling_of_interruption
from turnout.config import Settings
from turnout.definition import find_integrations
from turnout.errors import BackendError, UserError
from turnout.model.events import Event
from turnout.model.execution import Status
from turnout.services.record_json import record_json
from turnout.values import Value

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
    return run_async(_run(settings, path, flow_name, payload_file, inputs, as_json=as_json))


async def _run(
    settings: Settings, path: Path, flow_name: str | None, payload: Path | None, inputs: RunInputs, *, as_json: bool
) -> int:
    out = console(stderr=as_json)
    view = LiveView(out, now=time.time)
    shown: list[str] = []

    def watch(execution: str, event: Event) -> None:
        # Sub-executions are seen as the steps that call them.
        shown[:] = shown or [execution]
        if not as_json and shown[0] == execution:
            view.feed(event)

    async with platform_of(settings, observers=(watch,)) as platform:
        integration = checked(_only(path), platform)
        flow = chosen_flow(integration, flow_name)
        view.expect([step.id for step in flow.steps])
        instance = await deploy(platform, integration, inputs)
        await platform.check_connections(instance, flow.name)
        body = await read_payload(payload, platform)
        for line in await platform.start_sandbox():
            click.echo(line, err=True)
        await platform.runner.start_beating()
        trigger = Value({"body": body, "headers": {}, "query": {}, "method": "RUN"})
        with telling_of_interruption(shown), view:
            id = await platform.run(instance, flow.name, trigger)
        record = await platform.record(id)
        if record is None:
            raise BackendError(f"execution {id} has no record: the store in {settings.storage_directory} lost it")
        if as_json:
            emit(await record_json(record, platform.stores.payloads), as_json=True)
        else:
            click.echo()
            print_record(record, now=time.time(), outputs=True)
    return 0 if record.status is Status.SUCCEEDED else FAILED


def _only(path: Path) -> Path:
    files = find_integrations(path)
    if len(files) != 1:
        names = ", ".join(str(file) for file in files)
        raise UserError(f"{path} holds several integrations; give one of them: {names}")
    return files[0]
