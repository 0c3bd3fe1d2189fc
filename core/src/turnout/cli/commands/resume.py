"""`turnout resume`."""

from __future__ import annotations

import click

from turnout.cli.options import environment_option, json_option, unsafe_sandbox_option
from turnout.cli.output import emit
from turnout.cli.project import load_project
from turnout.cli.session import platform_of, run_async
from turnout.config import Settings

__all__ = ["command"]


@click.command("resume")
@unsafe_sandbox_option
@json_option
@environment_option
def command(*, allow_unsafe_sandbox: bool, as_json: bool, environment: str | None) -> int:
    """Go on with everything that a process left behind when it died or was interrupted.

    Runs until nothing is due: executions that wait for a time or a callback stay as they are, for `turnout dev` or a
    later `turnout resume`. One execution that failed or is parked is `turnout executions resume ID`.
    """
    return run_async(
        _resume(load_project(environment=environment, allow_unsafe_sandbox=allow_unsafe_sandbox), as_json=as_json)
    )


async def _resume(settings: Settings, *, as_json: bool) -> int:
    async with platform_of(settings) as platform:
        await platform.check_tenancy()
        await platform.recover()
        taken = (await platform.stores.queue.stats()).ready
        await platform.start_sandbox()
        await platform.start(platform.metadata, platform.recovery, platform.runner)
        await platform.drained()
        stats = await platform.stores.queue.stats()
    if as_json:
        emit({"recovered": taken, "waiting": stats.delayed}, as_json=True)
    else:
        waiting = f"; {stats.delayed} wait for their time or a callback" if stats.delayed else ""
        click.echo(f"went on with {taken} execution{'' if taken == 1 else 's'} of ended processes{waiting}")
    return 0
