"""`turnout integrations`: published versions, which never change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from turnout.cli.definitions import checked
from turnout.cli.faults import printable
from turnout.cli.options import environment_option, json_option
from turnout.cli.output import emit, print_table
from turnout.cli.tenants import in_platform
from turnout.cli.wording import clock_time, one_line
from turnout.definition import find_integrations
from turnout.local.platform import Platform
from turnout.services.record_json import time_text
from turnout.services.versions import Published, Version

__all__ = ["command"]


@click.group("integrations")
def command() -> None:
    """Publish versions of integrations, and look at them."""


@command.command("publish")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@json_option
@environment_option
def publish(*, path: Path, as_json: bool, environment: str | None) -> None:
    """Publish the definitions below PATH, each as the version that it says.

    What is published never changes: other content under the same version is refused.
    """

    async def work(platform: Platform) -> list[Published]:
        return [await platform.tenants.versions.publish(checked(file, platform)) for file in find_integrations(path)]

    found = in_platform(environment, work)
    if as_json:
        emit([{**_data(one.version), "new": one.new} for one in found], as_json=True)
        return
    for one in found:
        word = "published" if one.new else "was published before, with the same content"
        click.echo(printable(f"{one.version.integration} {one.version.version} {word}"))


@command.command("list")
@json_option
@environment_option
def list_integrations(*, as_json: bool, environment: str | None) -> None:
    """List what is published, with the newest version of each."""

    async def work(platform: Platform) -> Sequence[tuple[str, Sequence[Version]]]:
        return await platform.tenants.versions.integrations()

    found = in_platform(environment, work)
    if as_json:
        emit([{"name": name, "versions": [_data(one) for one in versions]} for name, versions in found], as_json=True)
        return
    rows = [
        (name, versions[0].version, str(len(versions)), clock_time(versions[0].published_at))
        for name, versions in found
    ]
    print_table(("INTEGRATION", "NEWEST", "VERSIONS", "PUBLISHED"), rows)


@command.command("versions")
@click.argument("name")
@json_option
@environment_option
def versions(*, name: str, as_json: bool, environment: str | None) -> None:
    """List the versions of an integration, the newest first."""

    async def work(platform: Platform) -> Sequence[Version]:
        await platform.tenants.versions.get(name)
        return await platform.tenants.versions.of(name)

    found = in_platform(environment, work)
    if as_json:
        emit([_data(one) for one in found], as_json=True)
        return
    rows = [(one.version, clock_time(one.published_at), one_line(one.description)) for one in found]
    print_table(("VERSION", "PUBLISHED", "DESCRIPTION"), rows)


@command.command("diff")
@click.argument("name")
@click.argument("before")
@click.argument("after")
@json_option
@environment_option
def diff(*, name: str, before: str, after: str, as_json: bool, environment: str | None) -> None:
    """Say what version AFTER of an integration has more (+), less (-) and otherwise (~) than BEFORE."""

    async def work(platform: Platform) -> Mapping[str, Sequence[str]]:
        kept = platform.tenants.versions
        return await kept.differences(await kept.get(name, before), await kept.get(name, after))

    found = in_platform(environment, work)
    if as_json:
        emit(dict(found), as_json=True)
        return
    for what, changes in found.items():
        for change in changes:
            click.echo(printable(f"{what}: {change}"))
    if not any(found.values()):
        click.echo("the same config, connections and flows")


def _data(version: Version) -> dict[str, Any]:
    return {
        "integration": version.integration,
        "version": version.version,
        "description": version.description,
        "bundle": version.bundle,
        "published_at": time_text(version.published_at),
    }
