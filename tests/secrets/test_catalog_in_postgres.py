"""A project whose catalog is in PostgreSQL: processes share customers' keys, rows moved there do not decrypt, keys are rotated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import psycopg
import pytest
from turnout.config import Settings, StoresSettings
from turnout.errors import BackendError
from turnout.local.key_rotation import rotate_wrapping_key
from turnout.local.stores import Stores
from turnout.plugins import load_plugins
from turnout.services.documents import Documents
from turnout.services.rotation import Rotation
from turnout_postgres.catalog import PostgresCatalog
from turnout_postgres.standins.server import PostgresServer

PURPOSE = "connection/erp"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture
async def processes(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[Stores]]:
    """Three that work on the same project."""
    monkeypatch.delenv("TURNOUT_SECRET_KEY", raising=False)
    settings = Settings(
        root=tmp_path,
        stores=StoresSettings(catalog="postgres"),
        backends={"postgres": {"url": server.url, "schema": "secrets", "migrate": True}},
    )
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(3):
            found.append(await Stores.open(settings, load_plugins()))
            stack.push_async_callback(found[-1].close)
        yield found


def nobody(tenant: str, done: int) -> None:
    """Does not listen to how far it is."""


async def test_customers_credentials_live_in_postgresql(server: PostgresServer, processes: list[Stores]) -> None:
    first, second, third = processes
    assert isinstance(first.catalog, PostgresCatalog)
    rows: Documents[bytes] = Documents(first.catalog, "connection", bytes)
    tenants = [f"customer-{number}" for number in range(10)]

    async def entrust(stores: Stores, tenant: str) -> None:
        await rows.put("erp", await stores.vault.seal(tenant, PURPOSE, tenant.encode()), tenant=tenant)

    async def opened(stores: Stores, tenant: str) -> bytes:
        found = await rows.get("erp", tenant=tenant)
        assert found is not None
        return await stores.vault.open(tenant, PURPOSE, found.value)

    await asyncio.gather(*(entrust(stores, tenant) for tenant in tenants for stores in processes))
    assert [await opened(stores, tenant) for stores in processes for tenant in tenants] == [
        tenant.encode() for tenant in tenants
    ] * 3

    rewrapped, renewed = await asyncio.gather(
        rotate_wrapping_key(first, nobody), Rotation(second.catalog, second.vault).renew(nobody)
    )
    assert rewrapped.new_key
    assert (renewed.customers, renewed.values, renewed.unreadable) == (10, 10, ())
    assert [await opened(third, tenant) for tenant in tenants] == [tenant.encode() for tenant in tenants]

    with psycopg.connect(server.url) as connection:
        connection.execute(
            "UPDATE secrets.catalog SET body = (SELECT body FROM secrets.catalog WHERE kind = 'connection' AND tenant = 'customer-1')"
            " WHERE kind = 'connection' AND tenant = 'customer-2'"
        )
    with pytest.raises(BackendError, match="another customer's"):
        await opened(third, "customer-2")
    assert await opened(third, "customer-1") == b"customer-1"
