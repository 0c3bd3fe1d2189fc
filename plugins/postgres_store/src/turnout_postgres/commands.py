"""`turnout postgres`: the tables, brought up to date and looked at by hand."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from math import isinf
from pathlib import Path
from typing import Any, TypeVar

import click
from turnout.config import find_project, load_settings
from turnout.errors import SettingsError
from turnout.interfaces.opening import Opening
from turnout.interfaces.secrets import Secret

from turnout_postgres.database import Database
from turnout_postgres.options import PostgresOptions
from turnout_postgres.records import PostgresRecords
from turnout_postgres.records.pruning import sizes

__all__ = ["COMMANDS"]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

_NAME = "postgres"

_PATIENCE_S = 5.0
"""For how long a command waits for a server that does not answer."""


def _options(function: F) -> F:
    """What each of the commands takes."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON, errors on stderr included."),
        click.option(
            "--env", "environment", metavar="NAME", help="Environment of turnout.toml (or the variable TURNOUT_ENV)."
        ),
        click.option(
            "--url",
            metavar="REFERENCE",
            help="The database in place of the settings': env:NAME, or a URL (which other users of the machine can see).",
        ),
    ):
        function = option(function)
    return function


@click.command("migrate")
@click.option("--dry-run", is_flag=True, help="Print the SQL that would run, and run nothing.")
@_options
def migrate(*, dry_run: bool, as_json: bool, environment: str | None, url: str | None) -> None:
    """Bring the tables up to date. Two who do it at once wait for each other."""

    async def run(database: Database) -> None:
        found = await database.migrations()
        found.check_applied()
        if dry_run:
            listed = [{"version": one.version, "name": one.name, "sql": one.sql} for one in found.pending]
            _print(listed if as_json else found.script() if listed else _CURRENT, as_json=as_json)
            return
        ran = await database.migrate()
        told = [(one.version, one.name) for one in ran]
        _print(_data(told) if as_json else [f"applied {_title(*one)}" for one in told] or _CURRENT, as_json=as_json)

    _with_database(run, environment, url)


@click.command("status")
@_options
def status(*, as_json: bool, environment: str | None, url: str | None) -> None:
    """Show which migrations were applied, and what commits survive."""

    async def run(database: Database) -> None:
        found = await database.migrations()
        found.check_applied()
        pending = [(one.version, one.name) for one in found.pending]
        applied = [(version, name) for version, (name, _) in found.applied.items()]
        if as_json:
            told = {"schema": database.schema, "durability": database.durability.value}
            _print({**told, "applied": _data(applied), "pending": _data(pending)}, as_json=True)
            return
        click.echo(f"schema {database.schema}, durability {database.durability.value}")
        for done, migrations in (("applied", applied), ("pending", pending)):
            for one in migrations:
                click.echo(f"{done}  {_title(*one)}")
        if pending:
            click.echo("Apply them with: turnout postgres migrate")

    _with_database(run, environment, url)


@click.command("partitions")
@click.option("--ahead", type=click.IntRange(0, 365), metavar="DAYS", help="Make those of today and so many days more.")
@_options
def partitions(*, ahead: int | None, as_json: bool, environment: str | None, url: str | None) -> None:
    """List the partitions of the records, with their sizes; the oldest first."""

    async def run(database: Database) -> None:
        (await database.migrations()).check()
        if ahead is not None:
            await PostgresRecords(database).make_partitions(days=ahead)
        listed = [
            {"partition": one.suffix, "since": _time(one.since), "until": _time(one.until), "bytes": size}
            for one, size in await database.run(sizes)
        ]
        if as_json:
            _print(listed, as_json=True)
            return
        for row in listed:
            click.echo(f"{row['partition']:<12}  {row['since'] or '-':<10}  {row['until'] or '-':<10}  {row['bytes']}")

    _with_database(run, environment, url)


COMMANDS: Mapping[str, click.Command] = {"migrate": migrate, "partitions": partitions, "status": status}

_CURRENT = "nothing to apply: the tables are up to date"


def _with_database(run: Callable[[Database], Awaitable[None]], environment: str | None, url: str | None) -> None:
    asyncio.run(_run(run, environment, url))


async def _run(run: Callable[[Database], Awaitable[None]], environment: str | None, url: str | None) -> None:
    """With the database of the project around the working directory, its tables as they are."""
    root = find_project(Path.cwd())
    settings = load_settings(root, environment=environment)
    given = dict(settings.backends.get(_NAME, {}))
    if url is not None:
        given["url"] = url
    opening = Opening(directory=root, name=_NAME, options=given, secret=_resolved)
    options = opening.read(PostgresOptions)
    options = options.model_copy(update={"timeout": min(options.timeout, _PATIENCE_S)})
    database = Database((await _resolved(options.url)).reveal(), options)
    async with aclosing(database):
        await database.open(check_tables=False)
        await run(database)


async def _resolved(reference: str) -> Secret:
    """A reference to a variable of the environment; other text as it is."""
    scheme, _, name = reference.partition(":")
    if scheme == "secret":
        raise SettingsError(
            f"backends.{_NAME}.url refers to secret:{name}, which this command does not open: give --url env:DATABASE_URL",
            setting=f"backends.{_NAME}.url",
        )
    if scheme != "env":
        return Secret(reference)
    if not (text := os.environ.get(name, "")):
        raise SettingsError(f"backends.{_NAME}.url: the variable {name} is not set", setting=f"backends.{_NAME}.url")
    return Secret(text)


def _print(data: Any, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(data, indent=2))
    elif isinstance(data, list):
        for line in data:
            click.echo(line)
    else:
        click.echo(data, nl=not data.endswith("\n"))


def _title(version: int, name: str) -> str:
    return f"{version:04} {name}"


def _data(migrations: list[tuple[int, str]]) -> list[dict[str, Any]]:
    return [{"version": version, "name": name} for version, name in migrations]


def _time(at: float) -> str | None:
    return None if isinf(at) else datetime.fromtimestamp(at, UTC).date().isoformat()
