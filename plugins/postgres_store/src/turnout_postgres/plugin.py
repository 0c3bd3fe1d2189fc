"""The entry point: what this distribution provides. It loads none of it until it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from turnout.hookspecs import hookimpl

if TYPE_CHECKING:
    import click

__all__: list[str] = []


@hookimpl
def turnout_stores() -> Mapping[str, type]:
    from turnout_postgres.catalog import PostgresCatalog
    from turnout_postgres.journal import PostgresJournal
    from turnout_postgres.records import PostgresRecords
    from turnout_postgres.state import PostgresState

    return {
        "catalog:postgres": PostgresCatalog,
        "journal:postgres": PostgresJournal,
        "records:postgres": PostgresRecords,
        "state:postgres": PostgresState,
    }


@hookimpl
def turnout_commands() -> Mapping[str, click.Command]:
    from turnout_postgres.command_group import command

    return {"postgres": command}
