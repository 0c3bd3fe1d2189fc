"""`turnout instances`: versions of integrations deployed to customers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from turnout.cli.faults import WRONG, printable
from turnout.cli.options import environment_option, json_option
from turnout.cli.output import emit, print_table
from turnout.cli.tenants import confirmed, in_platform, pairs, read_config
from turnout.cli.wording import clock_time, one_line
from turnout.local.platform import Platform
from turnout.services.instances import Changes, Deployment, NewInstance
from turnout.services.record_json import time_text
from turnout.services.release_checks import Checked

__all__ = ["command"]

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group("instances")
def command() -> None:
    """Deploy integrations to customers, upgrade, pause and delete them."""


@command.command("deploy")
@click.argument("customer")
@click.argument("integration", metavar="INTEGRATION[@VERSION]")
@click.option("--name", help="The instance's name; the integration's without it.")
@click.option("--config", "config_file", type=_FILE, metavar="FILE", help="YAML: config values by name.")
@click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="A config value; may be given many times."
)
@click.option(
    "--connection", "connections", multiple=True, metavar="SLOT=NAME", help="A connection of the customer for a slot."
)
@json_option
@environment_option
def deploy(
    *,
    customer: str,
    integration: str,
    name: str | None,
    config_file: Path | None,
    assignments: Sequence[str],
    connections: Sequence[str],
    as_json: bool,
    environment: str | None,
) -> None:
    """Deploy a published version, the newest unless one is named, to a customer.

    A slot takes the customer's connection of its own name unless --connection says another. All that is missing is said at
    once, and then nothing is deployed.
    """
    wanted, _, version = integration.partition("@")
    config, chosen = read_config(config_file, assignments), pairs(connections)

    async def work(platform: Platform) -> Deployment:
        new = NewInstance(integration=wanted, version=version, config=config, connections=chosen)
        return await platform.tenants.deployments.deploy(customer, name or wanted, new)

    _print(in_platform(environment, work), as_json=as_json)


@command.command("list")
@click.argument("customer", required=False)
@json_option
@environment_option
def list_instances(*, customer: str | None, as_json: bool, environment: str | None) -> None:
    """List the instances of a customer, or of all."""

    async def work(platform: Platform) -> list[Deployment]:
        deployments = platform.tenants.deployments
        if customer is None:
            return [found async for found in deployments.all()]
        await platform.tenants.customers.get(customer)
        return [found async for found in deployments.of(customer)]

    found = in_platform(environment, work)
    if as_json:
        emit([_data(one) for one in found], as_json=True)
        return
    rows = [
        (
            one.customer,
            one.name,
            f"{one.deployed.integration} {one.deployed.current.version}",
            one.deployed.state.value,
            clock_time(one.deployed.changed_at),
        )
        for one in found
    ]
    print_table(("CUSTOMER", "INSTANCE", "VERSION", "STATE", "CHANGED"), rows)


@command.command("show")
@click.argument("customer")
@click.argument("name")
@json_option
@environment_option
def show(*, customer: str, name: str, as_json: bool, environment: str | None) -> None:
    """Show an instance: its version, the config that was given to it, its connections, and what is under way with it."""

    async def work(platform: Platform) -> dict[str, Any]:
        deployments = platform.tenants.deployments
        found = await deployments.show(customer, name)
        return {**_data(found), "config": dict(await deployments.config(customer, name))}

    emit(in_platform(environment, work), as_json=as_json)


def _changes(
    version: str, config_file: Path | None, assignments: Sequence[str], unset: Sequence[str], connections: Sequence[str]
) -> Changes:
    return Changes(
        version=version,
        config=read_config(config_file, assignments),
        unset=tuple(unset),
        connections=pairs(connections),
    )


@command.command("upgrade")
@click.argument("customer")
@click.argument("name")
@click.option(
    "--version", "version", default="", metavar="VERSION", help="The one to go to; the one it has without it."
)
@click.option("--config", "config_file", type=_FILE, metavar="FILE", help="YAML: config values that change, by name.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="A config value that changes.")
@click.option("--unset", multiple=True, metavar="KEY", help="A config value that gets its default again.")
@click.option("--connection", "connections", multiple=True, metavar="SLOT=NAME", help="Another connection for a slot.")
@click.option("--check", is_flag=True, help="Say what is missing, and change nothing.")
@json_option
@environment_option
def upgrade(
    *,
    customer: str,
    name: str,
    version: str,
    config_file: Path | None,
    assignments: Sequence[str],
    unset: Sequence[str],
    connections: Sequence[str],
    check: bool,
    as_json: bool,
    environment: str | None,
) -> int:
    """Take an instance to another version, or change its config and connections. `turnout instances rollback` goes back.

    All that is missing is said at once, and then nothing changes. Executions that were accepted go on as they began.
    """
    changes = _changes(version, config_file, assignments, unset, connections)
    if check:
        return _say(in_platform(environment, lambda p: p.tenants.deployments.check(customer, name, changes)), as_json)

    async def work(platform: Platform) -> Deployment:
        return await platform.tenants.deployments.upgrade(customer, name, changes)

    _print(in_platform(environment, work), as_json=as_json)
    return 0


def _say(checked: Checked, as_json: bool) -> int:
    if as_json:
        emit({"fits": not checked.problems, "problems": checked.problems, "notes": checked.notes}, as_json=True)
    else:
        for problem in checked.problems:
            click.echo(printable(problem), err=True)
        for note in checked.notes:
            click.echo(printable(f"note: {note}"))
        if not checked.problems:
            click.echo("nothing is missing")
    return WRONG if checked.problems else 0


@command.command("rollback")
@click.argument("customer")
@click.argument("name")
@json_option
@environment_option
def rollback(*, customer: str, name: str, as_json: bool, environment: str | None) -> None:
    """Take an instance back to the version before, with the config and connections that it had."""

    async def work(platform: Platform) -> Deployment:
        return await platform.tenants.deployments.rollback(customer, name)

    _print(in_platform(environment, work), as_json=as_json)


@command.command("pause")
@click.argument("customer")
@click.argument("name")
@json_option
@environment_option
def pause(*, customer: str, name: str, as_json: bool, environment: str | None) -> None:
    """Take nothing more in: webhooks are answered 503, schedules are held. What runs goes on."""

    async def work(platform: Platform) -> Deployment:
        return await platform.tenants.deployments.pause(customer, name)

    _print(in_platform(environment, work), as_json=as_json)


@command.command("resume")
@click.argument("customer")
@click.argument("name")
@json_option
@environment_option
def resume(*, customer: str, name: str, as_json: bool, environment: str | None) -> None:
    """Take in again what is sent to an instance that was paused."""

    async def work(platform: Platform) -> Deployment:
        return await platform.tenants.deployments.resume(customer, name)

    _print(in_platform(environment, work), as_json=as_json)


@command.command("delete")
@click.argument("customer")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Cancel what runs, and wait for no `on_delete`.")
@json_option
@environment_option
def delete(*, customer: str, name: str, yes: bool, force: bool, as_json: bool, environment: str | None) -> None:
    """Delete an instance, once what runs has ended and its `on_delete` has run: the services finish what is under way."""
    confirmed(f"Delete instance {name!r} of customer {customer!r}?", yes=yes)

    async def work(platform: Platform) -> str:
        await platform.tenants.deployments.delete(customer, name)
        return await platform.tenants.removal.instance(customer, name, force=force)

    waiting = in_platform(environment, work)
    if as_json:
        emit({"instance": name, "deleted": not waiting, "waiting_for": waiting or None}, as_json=True)
    else:
        click.echo(f"instance {name} waits for {waiting}" if waiting else f"instance {name} is deleted")


def _print(deployment: Deployment, *, as_json: bool) -> None:
    if as_json:
        emit(_data(deployment), as_json=True)
        return
    deployed = deployment.deployed
    click.echo(
        printable(
            f"{deployment.customer}/{deployment.name}: {deployed.integration} {deployed.current.version}, "
            f"{deployed.state.value}"
        )
    )
    for note in deployment.notes:
        click.echo(printable(f"note: {one_line(note)}"))


def _data(deployment: Deployment) -> dict[str, Any]:
    deployed = deployment.deployed
    lifecycle = deployed.lifecycle
    return {
        "customer": deployment.customer,
        "name": deployment.name,
        "integration": deployed.integration,
        "version": deployed.current.version,
        "version_before": None if deployed.previous is None else deployed.previous.version,
        "state": deployed.state.value,
        "connections": dict(deployed.current.connections),
        "lifecycle": None
        if lifecycle is None
        else {"event": lifecycle.event, "execution": lifecycle.execution or None, "trouble": lifecycle.trouble or None},
        "changed_at": time_text(deployed.changed_at),
        "notes": list(deployment.notes),
    }
