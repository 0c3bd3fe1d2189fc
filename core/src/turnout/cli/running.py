"""Running a flow here and now, for the commands that do."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import click

from turnout.cli.definitions import chosen_flow, deploy
from turnout.cli.faults import FAILED
from turnout.cli.inputs import RunInputs, read_payload
from turnout.cli.live import LiveView
from turnout.cli.output import console, emit
from turnout.cli.session import platform_of
from turnout.cli.watching import print_record, telling_of_interruption
from turnout.config import Settings
from turnout.errors import BackendError
from turnout.local.platform import Platform
from turnout.model.definition import Integration
from turnout.model.events import Event
from turnout.model.execution import Status
from turnout.services.record_json import record_json
from turnout.values import Value

__all__ = ["run_flow"]


async def run_flow(
    settings: Settings,
    load: Callable[[Platform], Integration],
    flow_name: str | None,
    payload: Path | None,
    inputs: RunInputs,
    *,
    as_json: bool,
) -> int:
    """Run a flow of the integration that `load` gives, show it as it runs, print its record. The exit status."""
    out = console(stderr=as_json)
    view = LiveView(out, now=time.time)
    shown: list[str] = []

    def watch(execution: str, event: Event) -> None:
        # Sub-executions are seen as the steps that call them.
        shown[:] = shown or [execution]
        if not as_json and shown[0] == execution:
            view.feed(event)

    async with platform_of(settings, observers=(watch,)) as platform:
        integration = load(platform)
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
