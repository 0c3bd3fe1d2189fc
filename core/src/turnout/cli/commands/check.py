"""`turnout check`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from turnout.cli.faults import WRONG, printable
from turnout.cli.options import environment_option, json_option
from turnout.cli.output import emit
from turnout.cli.placement import Placement, placement_of
from turnout.cli.project import load_project
from turnout.cli.session import run_async
from turnout.config import Settings
from turnout.deploy.fit import Finding, shown_time

__all__ = ["command"]


@click.command("check")
@click.argument("path", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--strict", is_flag=True, help="Take warnings for errors.")
@json_option
@environment_option
def command(*, path: Path | None, strict: bool, as_json: bool, environment: str | None) -> int:
    """Check that every service and every flow fits the compute target that the settings choose for it.

    What services need and what flows' executions took is compared with what the targets give. The exit status is 2 if
    something does not fit.
    """
    settings = load_project(path, environment=environment)
    placement = run_async(placement_of(settings, path))
    errors = [one for one in placement.findings if strict or one.severity == "error"]
    holds = not errors and not placement.broken
    if as_json:
        emit({"fits": holds, "findings": placement.findings, "flows": placement.flows}, as_json=True)
        return 0 if holds else WRONG
    for line in placement.broken:
        click.echo(printable(line), err=True)
    for finding in placement.findings:
        click.echo(printable(_line(finding)), err=True)
    if holds:
        for line in _fitting(settings, placement):
            click.echo(printable(line))
    return 0 if holds else WRONG


def _line(finding: Finding) -> str:
    what = f"{finding.service}: flow {finding.flow!r}" if finding.flow else finding.service
    warning = "warning: " if finding.severity == "warning" else ""
    return f"{finding.setting}: {warning}{what}: {finding.message}"


def _fitting(settings: Settings, placement: Placement) -> Iterator[str]:
    places: dict[str, list[str]] = {}
    for service in placement.services:
        places.setdefault(settings.service(service.name).target, []).append(service.name)
    for target, names in places.items():
        yield f"{target}: {', '.join(names)}"
    if placement.unkept:
        yield f"queue {settings.stores.queue}: it keeps no {', '.join(placement.unkept)}; nothing here asks for it"
    for use in placement.flows:
        known = f"{use.executions} executions, the longest kept a worker busy for {shown_time(use.busy_s)}"
        yield f"{use.integration}/{use.flow}: {known if use.executions else 'has not run yet'}"
