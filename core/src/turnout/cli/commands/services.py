"""`turnout services`."""

from __future__ import annotations

import click

from turnout.cli.faults import printable
from turnout.cli.options import environment_option, json_option
from turnout.cli.output import emit, print_table
from turnout.cli.placement import Placement, placement_of
from turnout.cli.project import load_project
from turnout.cli.session import run_async
from turnout.config import Settings
from turnout.deploy.fit import shown_bytes, shown_time
from turnout.interfaces.service import Needs

__all__ = ["command"]

_SHOWN = 3
"""Triggers of a service in the table; `--json` has all."""


@click.command("services")
@json_option
@environment_option
def command(*, as_json: bool, environment: str | None) -> None:
    """List the project's services: where each runs, what calls it, and whether it fits there.

    `turnout check` says more of what does not.
    """
    settings = load_project(environment=environment)
    placement = run_async(placement_of(settings))
    if as_json:
        emit(_listing(settings, placement), as_json=True)
        return
    rows = []
    for service in placement.services:
        triggers = [*service.triggers[:_SHOWN]]
        more = len(service.triggers) - len(triggers)
        rows.append(
            (
                service.name,
                settings.service(service.name).target,
                ", ".join(triggers) + (f" and {more} more" if more > 0 else "") or "its own work",
                _needs(settings, service.needs),
                _verdict(placement, service.name),
            )
        )
    print_table(("SERVICE", "TARGET", "CALLED BY", "NEEDS", "FITS"), rows)
    if placement.unkept:
        click.echo(printable(f"The queue {settings.stores.queue!r} keeps no {', '.join(placement.unkept)}."))
    known = {service.name for service in placement.services}
    for finding in placement.findings:
        if finding.service not in known:
            click.echo(printable(f"{finding.setting}: {finding.message}"))


def _needs(settings: Settings, needs: Needs) -> str:
    parts = [f"calls of {shown_time(needs.call_s)}"]
    if needs.bodies:
        parts.append(f"requests of {shown_bytes(settings.limits.request_bytes)}")
    if needs.long_lived:
        parts.append("a process that lives on" + (", or calls" if needs.in_calls else ""))
    return ", ".join(parts)


def _verdict(placement: Placement, name: str) -> str:
    severities = [finding.severity for finding in placement.findings if finding.service == name]
    return "no" if "error" in severities else "perhaps" if severities else "yes"


def _listing(settings: Settings, placement: Placement) -> list[dict[str, object]]:
    return [
        {
            "name": service.name,
            "target": settings.service(service.name).target,
            "triggers": service.triggers,
            "needs": {
                "call_s": service.needs.call_s,
                "bodies": service.needs.bodies,
                "long_lived": service.needs.long_lived,
                "in_calls": service.needs.in_calls,
            },
            "fits": _verdict(placement, service.name),
        }
        for service in placement.services
    ]
