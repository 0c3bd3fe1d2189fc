"""Settings are checked; one pool serves all stores; no message shows a password."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from turnout.errors import BackendError, SettingsError
from turnout.interfaces.journal import Row
from turnout.interfaces.opening import Opening
from turnout.interfaces.records import RecordBatch
from turnout.interfaces.secrets import Secret
from turnout.interfaces.state import StateScope
from turnout.model.payload import Encoded
from turnout.testing.records import created, execution
from turnout_postgres.database import Database
from turnout_postgres.journal import PostgresJournal
from turnout_postgres.options import PostgresOptions
from turnout_postgres.records import PostgresRecords
from turnout_postgres.standins.server import PostgresServer
from turnout_postgres.state import PostgresState

PASSWORD = "sesam-öffne dich"


def opening(**options: Any) -> Opening:
    async def resolve(written: str) -> Secret:
        return Secret(
            f"postgresql://turnout:{quote(PASSWORD)}@127.0.0.1:1/x" if written == "env:DATABASE_URL" else written
        )

    return Opening(directory=Path("/nowhere"), name="postgres", options=options, secret=resolve)


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        ({}, "backends.postgres.url"),
        ({"url": ""}, "backends.postgres.url"),
        ({"url": 5}, "backends.postgres.url"),
        ({"url": f"no url {PASSWORD}"}, "backends.postgres.url"),
        ({"url": f"postgresql://a:{PASSWORD}@h/x?nonsense=1"}, "backends.postgres.url"),
        ({"url": f"mysql://a:{PASSWORD}@h/x"}, "backends.postgres.url"),
        ({"url": "-", "schema": "Upper"}, "backends.postgres.schema"),
        ({"url": "-", "schema": 'x"; DROP'}, "backends.postgres.schema"),
        ({"url": "-", "pool_max": 0}, "backends.postgres.pool_max"),
        ({"url": "-", "pool_min": 5, "pool_max": 4}, "backends.postgres.pool_max"),
        ({"url": "-", "pool_min": 11}, "backends.postgres.pool_max"),
        ({"url": "-", "pool_max": "4"}, "backends.postgres.pool_max"),
        ({"url": "-", "timeout": 0}, "backends.postgres.timeout"),
        ({"url": "-", "migrate": "yes"}, "backends.postgres.migrate"),
        ({"url": "-", "pasword": PASSWORD}, "backends.postgres.pasword"),
    ],
    ids=str,
)
async def test_a_wrong_setting_is_named_and_its_value_is_not(options: dict[str, Any], setting: str) -> None:
    with pytest.raises(SettingsError) as caught:
        await PostgresRecords.connect(opening(**options))

    assert caught.value.setting == setting
    assert setting in str(caught.value)
    assert PASSWORD not in everything(caught.value)


async def test_a_server_that_is_not_there_is_an_error_without_the_password(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    with pytest.raises(BackendError, match="Connection refused") as caught:
        await PostgresJournal.connect(opening(url="env:DATABASE_URL", timeout=0.2))

    assert PASSWORD not in everything(caught.value) + caplog.text


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda url: url.replace("turnout:", "turnout:wrong"), "password authentication failed"),
        (lambda url: url.replace("/postgres", "/none"), "does not exist"),
    ],
)
async def test_what_will_not_pass_is_told_at_once(server: PostgresServer, change: Any, told: str) -> None:
    with pytest.raises(BackendError, match=told) as caught:
        await PostgresState.connect(opening(url=change(server.url), timeout=60))

    assert server.password not in everything(caught.value)


async def test_all_stores_of_a_project_share_a_pool(server: PostgresServer, schema: str) -> None:
    given = opening(url=server.url, schema=schema, migrate=True)

    records = await PostgresRecords.connect(given)
    journal = await PostgresJournal.connect(given)
    state = await PostgresState.connect(given)

    assert await records.apply(RecordBatch(position=1, executions=(created(execution()),)))
    assert await journal.begin("e1", [Row("accepted", b"")])
    await state.set(StateScope(tenant="a", instance="b"), "key", Encoded(), operation="1")
    assert len({id(store._database) for store in (records, journal, state)}) == 1
    await journal.close()
    await given.shared.aclose()
    with pytest.raises(BackendError, match="closed"):
        await records.position()


async def test_a_database_of_another_encoding_is_refused(server: PostgresServer, database: Database) -> None:
    await database.run(
        lambda session: session.script("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    )

    with pytest.raises(BackendError, match="encoding is LATIN1"):
        await Database(server.url.replace("/postgres", "/latin"), PostgresOptions(url="-")).open()


async def test_a_standby_is_refused(database: Database) -> None:
    with pytest.raises(BackendError, match="is a standby"):
        database._check_server(180000, "UTF8", True)  # noqa: FBT003 - as the server answers


async def test_an_old_server_is_refused(database: Database) -> None:
    with pytest.raises(BackendError, match="PostgreSQL 12 is too old"):
        database._check_server(120010, "UTF8", False)  # noqa: FBT003 - as the server answers


async def test_what_a_pool_that_is_used_up_waits_for_is_said(
    server: PostgresServer, schema: str, make_database: Any
) -> None:
    database = make_database(server, schema, pool_max=1, timeout=0.3)
    await database.open()

    async with database._pool.connection():
        with pytest.raises(BackendError, match="pool_max is too low"):
            await PostgresRecords(database).position()

    await database.aclose()


def everything(error: BaseException) -> str:
    """All that a traceback of the error would show."""
    told = ""
    shown: BaseException | None = error
    while shown is not None:
        told += f"{shown!r} {shown} "
        shown = shown.__cause__ or (None if shown.__suppress_context__ else shown.__context__)
    return told


def test_the_readme_has_every_setting() -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text()

    assert [key for key, field in PostgresOptions.model_fields.items() if f"`{field.alias or key}`" not in readme] == []
