"""`turnout connections`: accounts of customers, which their instances use by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from turnout.cli.commands.connecting import connect
from turnout.cli.options import environment_option, json_option
from turnout.cli.output import emit, print_table
from turnout.cli.tenants import confirmed, in_platform, pairs, secret_text
from turnout.cli.wording import clock_time, one_line
from turnout.errors import UserError
from turnout.local.platform import Platform
from turnout.services.connections import ConnectionView, NewConnection
from turnout.services.record_json import time_text

__all__ = ["command"]

_FIELD_HELP = "A field that is no secret, or a reference to one: token=env:ERP_TOKEN."
_ASKED_HELP = "A field whose text is asked for, or read from standard input, a line each."


@click.group("connections")
def command() -> None:
    """Keep customers' connections, and connect their accounts."""


@command.command("create")
@click.argument("customer")
@click.argument("name")
@click.option("--connector", required=True, help="Whose connection it is: http, dropbox.")
@click.option("--type", "type_", default="", help="Its type, where the connector has several.")
@click.option("--field", "fields", multiple=True, metavar="FIELD=VALUE", help=_FIELD_HELP)
@click.option("--secret", "secrets", multiple=True, metavar="FIELD", help=_ASKED_HELP)
@json_option
@environment_option
def create(
    *,
    customer: str,
    name: str,
    connector: str,
    type_: str,
    fields: Sequence[str],
    secrets: Sequence[str],
    as_json: bool,
    environment: str | None,
) -> None:
    """Keep a connection of a customer. Its fields are encrypted for that customer and this name.

    Secrets are no arguments: those are seen by other users and kept in the shell's history.
    """
    values = _values(fields, secrets)

    async def work(platform: Platform) -> ConnectionView:
        await platform.tenants.customers.get(customer)
        await platform.connections.create(customer, name, NewConnection(connector=connector, type=type_, fields=values))
        return await platform.connections.view(customer, name)

    _print(in_platform(environment, work), as_json=as_json)


@command.command("update")
@click.argument("customer")
@click.argument("name")
@click.option("--field", "fields", multiple=True, metavar="FIELD=VALUE", help=_FIELD_HELP)
@click.option("--secret", "secrets", multiple=True, metavar="FIELD", help=_ASKED_HELP)
@click.option("--unset", multiple=True, metavar="FIELD", help="A field that is to have no value.")
@json_option
@environment_option
def update(
    *,
    customer: str,
    name: str,
    fields: Sequence[str],
    secrets: Sequence[str],
    unset: Sequence[str],
    as_json: bool,
    environment: str | None,
) -> None:
    """Change fields of a connection: every instance that uses it works with them from its next step."""
    values = _values(fields, secrets)
    if not values and not unset:
        raise UserError("nothing is to be changed: give --field, --secret or --unset")

    async def work(platform: Platform) -> ConnectionView:
        await platform.connections.update(customer, name, values, unset=unset)
        return await platform.connections.view(customer, name)

    _print(in_platform(environment, work), as_json=as_json)


@command.command("list")
@click.argument("customer")
@json_option
@environment_option
def list_connections(*, customer: str, as_json: bool, environment: str | None) -> None:
    """List a customer's connections, and whether they work."""

    async def work(platform: Platform) -> list[ConnectionView]:
        await platform.tenants.customers.get(customer)
        names = [name async for name, _ in platform.connections.all(customer)]
        return [await platform.connections.view(customer, name) for name in names]

    found = in_platform(environment, work)
    if as_json:
        emit([_data(view) for view in found], as_json=True)
        return
    rows = [
        (
            view.name,
            f"{view.connection.connector} {view.connection.type}",
            view.connection.state.value,
            one_line(view.connection.reason) or "-",
            ", ".join(view.used_by) or "-",
            clock_time(view.connection.changed_at),
        )
        for view in found
    ]
    print_table(("CONNECTION", "TYPE", "STATE", "WHY", "USED BY", "CHANGED"), rows)


@command.command("show")
@click.argument("customer")
@click.argument("name")
@json_option
@environment_option
def show(*, customer: str, name: str, as_json: bool, environment: str | None) -> None:
    """Show a connection; what is or may be secret as `***`."""

    async def work(platform: Platform) -> ConnectionView:
        return await platform.connections.view(customer, name)

    _print(in_platform(environment, work), as_json=as_json)


@command.command("test")
@click.argument("customer")
@click.argument("name")
@json_option
@environment_option
def test(*, customer: str, name: str, as_json: bool, environment: str | None) -> None:
    """Make the connection once: its references are looked up, its fields checked, its access token renewed."""

    async def work(platform: Platform) -> ConnectionView:
        await platform.connections.test(customer, name)
        return await platform.connections.view(customer, name)

    _print(in_platform(environment, work), as_json=as_json)


@command.command("remove")
@click.argument("customer")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@environment_option
def remove(*, customer: str, name: str, yes: bool, environment: str | None) -> None:
    """Remove a connection that no instance uses."""
    confirmed(f"Remove connection {name!r} of customer {customer!r}?", yes=yes)

    async def work(platform: Platform) -> None:
        await platform.connections.remove(customer, name)

    in_platform(environment, work)
    click.echo(f"connection {name} is removed")


command.add_command(connect)


def _values(fields: Sequence[str], secrets: Sequence[str]) -> dict[str, str]:
    return {**pairs(fields), **{name: secret_text(name) for name in secrets}}


def _print(view: ConnectionView, *, as_json: bool) -> None:
    data = _data(view)
    if not as_json:
        fields = {f"field {name}": value for name, value in data.pop("fields").items()}
        used_by = ", ".join(data.pop("used_by")) or "no instance"
        data = {name: value for name, value in {**data, **fields, "used_by": used_by}.items() if value is not None}
    emit(data, as_json=as_json)


def _data(view: ConnectionView) -> dict[str, Any]:
    connection = view.connection
    return {
        "name": view.name,
        "connector": connection.connector,
        "type": connection.type,
        "state": connection.state.value,
        "reason": connection.reason or None,
        "fields": dict(view.shown),
        "used_by": list(view.used_by),
        "changed_at": time_text(connection.changed_at),
    }
