"""`turnout api-keys`: who may use the HTTP API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from turnout.cli.options import environment_option, json_option
from turnout.cli.output import emit, print_table
from turnout.cli.project import load_project
from turnout.cli.session import platform_of, run_async
from turnout.cli.wording import clock_time, one_line
from turnout.model.duration import parse_duration
from turnout.services.api_keys import ApiKey, ApiKeys, NewKey, Role
from turnout.services.record_json import time_text

__all__ = ["command"]

_MOST = 100_000


@click.group("api-keys")
def command() -> None:
    """Make, list and revoke keys of the HTTP API."""


def _expires(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@command.command("create")
@click.argument("name")
@click.option("--customer", metavar="NAME", help="A key of this customer alone; of the whole organisation without it.")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.READ.value,
    show_default=True,
    help="read looks, operate starts and stops, admin sets up.",
)
@click.option("--expires", "expires_s", callback=_expires, metavar="TIME", help="How long it is good for: 90d.")
@json_option
@environment_option
def create(
    *,
    name: str,
    customer: str | None,
    role: str,
    expires_s: float | None,
    as_json: bool,
    environment: str | None,
) -> None:
    """Make a key and print it. It is kept as a hash: nobody can print it again.

    NAME says who uses it.
    """

    async def work() -> tuple[NewKey, float]:
        async with platform_of(load_project(environment=environment)) as platform:
            keys = ApiKeys(platform.stores.catalog, platform.stores.clock)
            made = await keys.create(name, role=Role(role), customer=customer, expires_s=expires_s)
            return made, platform.stores.clock.now()

    made, now = run_async(work())
    if as_json:
        emit({**_data(made.id, made.key, now), "key": made.text}, as_json=True)
    else:
        click.echo(made.text)
        click.echo("keep it now: it is not shown again", err=True)


@command.command("list")
@click.option("--customer", metavar="NAME", help="Keys of this customer alone.")
@json_option
@environment_option
def list_keys(*, customer: str | None, as_json: bool, environment: str | None) -> None:
    """List keys, never what opens: their ids, whose they are, what they may do, when each was used last, to the hour."""

    async def work() -> tuple[Sequence[tuple[str, ApiKey]], float]:
        async with platform_of(load_project(environment=environment)) as platform:
            keys = ApiKeys(platform.stores.catalog, platform.stores.clock)
            return await keys.page(customer=customer, limit=_MOST), platform.stores.clock.now()

    found, now = run_async(work())
    if as_json:
        emit([_data(id, key, now) for id, key in found], as_json=True)
    elif not found:
        click.echo("no API keys")
    else:
        headings = ("ID", "NAME", "CUSTOMER", "ROLE", "STATE", "EXPIRES_UTC", "USED_UTC")
        print_table(headings, [_cells(id, key, now) for id, key in found])


@command.command("revoke")
@click.argument("id")
@json_option
@environment_option
def revoke(*, id: str, as_json: bool, environment: str | None) -> None:
    """Make a key useless, at once and everywhere. ID is the part of it between the two `_`."""

    async def work() -> tuple[ApiKey, float]:
        async with platform_of(load_project(environment=environment)) as platform:
            keys = ApiKeys(platform.stores.catalog, platform.stores.clock)
            return await keys.revoke(id), platform.stores.clock.now()

    key, now = run_async(work())
    if as_json:
        emit(_data(id, key, now), as_json=True)
    else:
        click.echo(f"revoked {id}: {one_line(key.name)}")


def _data(id: str, key: ApiKey, now: float) -> dict[str, Any]:
    return {
        "id": id,
        "name": key.name,
        "customer": key.customer,
        "role": key.role.value,
        "state": key.state(now),
        "created_at": time_text(key.created_at),
        "expires_at": time_text(key.expires_at),
        "revoked_at": time_text(key.revoked_at),
        "used_at": time_text(key.used_at),
    }


def _cells(id: str, key: ApiKey, now: float) -> tuple[str, ...]:
    def when(at: float | None) -> str:
        return "-" if at is None else clock_time(at).replace(" ", "T")

    return (
        id,
        one_line(key.name),
        "-" if key.customer is None else one_line(key.customer),
        key.role.value,
        key.state(now),
        when(key.expires_at),
        when(key.used_at),
    )
