"""`turnout executions cancel|resume|replay`: what changes an execution's course."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from turnout.cli.definitions import checked
from turnout.cli.inputs import RunInputs, input_options, read_inputs, read_payload
from turnout.cli.options import environment_option, json_option
from turnout.cli.output import emit
from turnout.cli.project import load_project
from turnout.cli.session import platform_of, run_async
from turnout.cli.watching import Watch
from turnout.cli.wording import one_line
from turnout.errors import UserError
from turnout.services.roots import root_of
from turnout.services.submission import Instance
from turnout.values import Value

if TYPE_CHECKING:
    from turnout.local.platform import Platform

__all__ = ["cancel", "replay", "resume"]

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_CANCELLED_WITHIN_S = 15.0
_detach = click.option("--detach", is_flag=True, help="Only queue it: `turnout worker`, `dev` or `resume` runs it.")


@click.command("cancel")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--reason", default="", metavar="TEXT", help="What the record says of it.")
@json_option
@environment_option
def cancel(*, ids: Sequence[str], reason: str, as_json: bool, environment: str | None) -> None:
    """Stop executions wherever they run, their sub-executions with them. One that has ended is left as it is."""

    async def work() -> dict[str, str]:
        async with platform_of(load_project(environment=environment)) as platform:
            return {id: await _cancel(platform, id, reason) for id in ids}

    cancelled = run_async(work())
    if as_json:
        emit([{"execution": id, "outcome": outcome} for id, outcome in cancelled.items()], as_json=True)
        return
    for id, outcome in cancelled.items():
        click.echo(f"{one_line(id)}: {outcome}")


async def _cancel(platform: Platform, id: str, reason: str) -> str:
    if not await platform.operations.cancel(id, reason):
        return "had ended already"
    root, _ = await root_of(platform.stores.journal, id)
    try:
        # What no worker holds has its end written here; what one holds is waited for.
        await asyncio.wait_for(platform.follow(root), _CANCELLED_WITHIN_S)
    except TimeoutError:
        return "asked to stop, its worker has not answered yet"
    return "cancelled"


@click.command("resume")
@click.argument("id")
@click.option("--repeat", is_flag=True, help="Of a parked step: it did not take effect, run it again.")
@click.option("--output", "output_json", metavar="JSON", help="Of a parked step: it took effect, with this output.")
@_detach
@json_option
@environment_option
def resume(
    *, id: str, repeat: bool, output_json: str | None, detach: bool, as_json: bool, environment: str | None
) -> int:
    """Let a failed, cancelled or parked execution go on from where it stopped.

    A failed one begins again with the step that failed: nothing that succeeded runs twice.
    """
    if repeat and output_json is not None:
        raise click.UsageError("--repeat and --output exclude each other")
    output = None if output_json is None else Value.parse(output_json)

    async def change(platform: Platform) -> str:
        return await platform.operations.resume(id, repeat=repeat, output=output)

    return run_async(_run(change, detach=detach, as_json=as_json, environment=environment))


@click.command("replay")
@click.argument("id")
@click.option("--step", default="", metavar="ID", help="Begin with this step; outputs of earlier ones are taken over.")
@click.option("--payload", type=_FILE, metavar="FILE", help="Another `trigger.body` than the recorded one.")
@click.option("--definition", type=click.Path(exists=True, path_type=Path), metavar="PATH", help="Another version.")
@input_options
@_detach
@json_option
@environment_option
def replay(
    *,
    id: str,
    step: str,
    payload: Path | None,
    definition: Path | None,
    config_file: Path | None,
    assignments: Sequence[str],
    connections_file: Path | None,
    detach: bool,
    as_json: bool,
    environment: str | None,
) -> int:
    """Run an execution anew, under a new id: with the recorded input, version and settings unless others are given.

    Effects happen again. With --definition the config and connections stay the recorded ones, unless any of --config,
    --set and --connections is given: then they are what counts.
    """
    given = config_file is not None or bool(assignments) or connections_file is not None
    if given and definition is None:
        raise click.UsageError("--config, --set and --connections need --definition")
    inputs = read_inputs(config_file, assignments, connections_file) if given else None

    async def change(platform: Platform) -> str:
        instance = None if definition is None else await _instance(platform, id, definition, inputs)
        trigger = None if payload is None else Value({"body": await read_payload(payload, platform)})
        return await platform.operations.replay(id, step=step, instance=instance, trigger=trigger)

    return run_async(_run(change, detach=detach, as_json=as_json, environment=environment))


async def _run(
    change: Callable[[Platform], Awaitable[str]], *, detach: bool, as_json: bool, environment: str | None
) -> int:
    """Make the change, then run the execution here unless that is left to another process; the exit status."""
    watch = Watch(as_json=as_json)
    async with platform_of(load_project(environment=environment), observers=(watch.observe,)) as platform:
        id = await change(platform)
        if not detach:
            return await watch.follow(platform, id)
    emit({"execution": id, "status": "queued"} if as_json else f"execution {id} is queued", as_json=as_json)
    return 0


async def _instance(platform: Platform, id: str, path: Path, inputs: RunInputs | None) -> Instance:
    """The definition at `path` as a version for the execution's instance."""
    integration = checked(path, platform)
    record = await platform.record(id)
    if record is None or record.info.integration != integration.name:
        of = f"of {record.info.integration!r}" if record is not None else "unknown"
        raise UserError(f"execution {id} is {of}; {path} defines {integration.name!r}")
    if inputs is not None:
        return await platform.deploy(
            integration, config=inputs.config, connections=inputs.connections, name=record.info.instance
        )
    bundle = await platform.stores.bundles.build(integration)
    return Instance(
        name=record.info.instance,
        tenant=record.info.tenant,
        integration=bundle.integration,
        bundle=bundle.hash,
        settings=record.info.settings,
    )
