"""`turnout customers`: whom instances are deployed to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from turnout.cli.options import environment_option, json_option
from turnout.cli.output import emit, print_table
from turnout.cli.tenants import confirmed, in_platform, pairs
from turnout.cli.wording import clock_time, one_line
from turnout.local.platform import Platform
from turnout.services.customers import Customer
from turnout.services.record_json import time_text

__all__ = ["command"]


@click.group("customers")
def command() -> None:
    """Make, show, suspend and delete customers."""


@command.command("create")
@click.argument("name")
@click.option("--title", default="", help="What people call it.")
@click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="Something for programs: an id in another system.")
@json_option
@environment_option
def create(*, name: str, title: str, metadata: Sequence[str], as_json: bool, environment: str | None) -> None:
    """Make a customer. NAME is its address for ever: letters, digits, `-` and `_`."""

    async def work(platform: Platform) -> Customer:
        return await platform.tenants.customers.create(name, title=title, metadata=pairs(metadata))

    _print(name, in_platform(environment, work), as_json=as_json)


@command.command("list")
@json_option
@environment_option
def list_customers(*, as_json: bool, environment: str | None) -> None:
    """List the customers, by name."""

    async def work(platform: Platform) -> list[tuple[str, Customer]]:
        return [found async for found in platform.tenants.customers.all()]

    found = in_platform(environment, work)
    if as_json:
        emit([_data(name, customer) for name, customer in found], as_json=True)
        return
    rows = [
        (name, one_line(customer.title), customer.state.value, clock_time(customer.created_at))
        for name, customer in found
    ]
    print_table(("CUSTOMER", "TITLE", "STATE", "SINCE"), rows)


@command.command("show")
@click.argument("name")
@json_option
@environment_option
def show(*, name: str, as_json: bool, environment: str | None) -> None:
    """Show a customer."""

    async def work(platform: Platform) -> Customer:
        return await platform.tenants.customers.get(name)

    _print(name, in_platform(environment, work), as_json=as_json)


@command.command("change")
@click.argument("name")
@click.option("--title", help="What people call it.")
@click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="Set a value; KEY= removes it.")
@json_option
@environment_option
def change(*, name: str, title: str | None, metadata: Sequence[str], as_json: bool, environment: str | None) -> None:
    """Change a customer's title or metadata. What is not given stays."""

    async def work(platform: Platform) -> Customer:
        changed = {key: value or None for key, value in pairs(metadata).items()}
        return await platform.tenants.customers.change(name, title=title, metadata=changed)

    _print(name, in_platform(environment, work), as_json=as_json)


@command.command("suspend")
@click.argument("name")
@json_option
@environment_option
def suspend(*, name: str, as_json: bool, environment: str | None) -> None:
    """Take nothing more in for any of its instances; what runs goes on."""

    async def work(platform: Platform) -> Customer:
        return await platform.tenants.customers.suspend(name)

    _print(name, in_platform(environment, work), as_json=as_json)


@command.command("resume")
@click.argument("name")
@json_option
@environment_option
def resume(*, name: str, as_json: bool, environment: str | None) -> None:
    """Take in again what is sent to a customer who was suspended."""

    async def work(platform: Platform) -> Customer:
        return await platform.tenants.customers.resume(name)

    _print(name, in_platform(environment, work), as_json=as_json)


@command.command("delete")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Cancel what runs, and wait for no `on_delete`.")
@json_option
@environment_option
def delete(*, name: str, yes: bool, force: bool, as_json: bool, environment: str | None) -> int:
    """Delete a customer with everything that is theirs: instances, connections, keys, state, payloads, records.

    It waits for what runs, and for each instance's `on_delete`, then half a minute for what others still write: the services finish
    what is under way when this returns, or this command, called again.
    """
    confirmed(f"Delete customer {name!r} with everything that is theirs?", yes=yes)

    async def work(platform: Platform) -> str:
        await platform.tenants.customers.mark_deleting(name)
        return await platform.tenants.removal.customer(name, force=force)

    waiting = in_platform(environment, work)
    if as_json:
        emit({"customer": name, "deleted": not waiting, "waiting_for": waiting or None}, as_json=True)
    else:
        click.echo(f"customer {name} is being deleted: {waiting}" if waiting else f"customer {name} is deleted")
    return 0


def _print(name: str, customer: Customer, *, as_json: bool) -> None:
    emit(_data(name, customer), as_json=as_json)


def _data(name: str, customer: Customer) -> dict[str, Any]:
    return {
        "name": name,
        "title": customer.title,
        "state": customer.state.value,
        "metadata": dict(customer.metadata),
        "created_at": time_text(customer.created_at),
    }
