"""The entry point: what this distribution provides. It loads none of it until it is asked."""

from __future__ import annotations

from collections.abc import Mapping

from turnout.hookspecs import hookimpl

__all__: list[str] = []


@hookimpl
def turnout_stores() -> Mapping[str, type]:
    from turnout_postgres.records import PostgresRecords

    return {"records:postgres": PostgresRecords}
