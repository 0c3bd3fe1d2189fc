"""Keys are replaced while others read and write, and by halves too: what is kept opens at every moment."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from turnout.config import Settings
from turnout.errors import BackendError, NotFound
from turnout.interfaces.catalog import Address, CatalogChange, CatalogStore
from turnout.interfaces.secrets import Secret
from turnout.local.database import Database
from turnout.local.key_rotation import rotate_wrapping_key
from turnout.local.keys import Keys
from turnout.local.local_key_wrapper import LocalKeyWrapper
from turnout.local.sqlite_catalog import SQLiteCatalog
from turnout.local.stores import Stores
from turnout.plugins import load_plugins
from turnout.services.data_keys import KIND
from turnout.services.documents import Documents
from turnout.services.rotation import Rotation
from turnout.services.vault import Vault, key_and_purpose
from turnout.testing.clock import ManualClock

TENANTS = [f"customer-{number}" for number in range(25)]


@pytest.fixture
async def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stores]:
    monkeypatch.delenv("TURNOUT_SECRET_KEY", raising=False)
    stores = await Stores.open(Settings(root=tmp_path), load_plugins())
    yield stores
    await stores.close()


def nobody(tenant: str, done: int) -> None:
    """Does not listen to how far it is."""


async def entrust(stores: Stores) -> None:
    """A connection of each customer, as documents are kept; values of other kinds, raw and within other text."""
    connections: Documents[dict[str, bytes]] = Documents(stores.catalog, "connection", dict[str, bytes])
    for tenant in TENANTS:
        sealed = {
            field: await stores.vault.seal(tenant, "connection/erp", f"{field} of {tenant}".encode())
            for field in ("user", "password")
        }
        await connections.put("erp", sealed, tenant=tenant, due=5.0)
        raw = await stores.vault.seal(tenant, "token", tenant.encode())
        await stores.catalog.write(CatalogChange(address=Address(kind="token", tenant=tenant, name="raw"), body=raw))
        await stores.catalog.write(
            CatalogChange(address=Address(kind="note", tenant=tenant, name="plain"), body=b'{"n": 1e3}')
        )


async def all_open(catalog: CatalogStore, vault: Vault) -> set[bytes]:
    """Checks that every value of every customer opens; the ids of the data keys that they need."""
    connections: Documents[dict[str, bytes]] = Documents(catalog, "connection", dict[str, bytes])
    ids = set()
    for tenant in TENANTS:
        found = await connections.get("erp", tenant=tenant)
        raw = await catalog.get(Address(kind="token", tenant=tenant, name="raw"))
        assert found is not None
        assert raw is not None
        for field, sealed in found.value.items():
            assert (await vault.open(tenant, "connection/erp", sealed)).startswith(f"{field} of {tenant}".encode())
        assert await vault.open(tenant, "token", raw.body) == tenant.encode()
        for sealed in (*found.value.values(), raw.body):
            needs = key_and_purpose(sealed)
            assert needs is not None
            ids.add(needs[0])
    return ids


async def wrapping_keys(stores: Stores) -> set[str]:
    return {json.loads(entry.body)["keys"][0]["wrapping"] for entry in await stores.catalog.entries(KIND)}


def fresh(stores: Stores, *keys: bytes) -> Vault:
    """The vault of another process, which has these keys alone."""
    environment = {"TURNOUT_SECRET_KEY": ",".join(base64.b64encode(key).decode() for key in keys)}
    return Vault(stores.catalog, LocalKeyWrapper(Keys(stores.directory, environment=environment)))


async def test_the_wrapping_key_is_replaced_and_the_new_one_opens_everything_alone(stores: Stores) -> None:
    await entrust(stores)
    await stores.secrets.set("erp", Secret("hunter22"))
    [old] = stores.keys.ring()

    done = await rotate_wrapping_key(stores, nobody)

    new, kept = stores.keys.ring()
    assert kept == old
    assert (done.new_key, done.customers, done.resumed) == (True, len(TENANTS), False)
    await all_open(stores.catalog, fresh(stores, new))
    assert await stores.secrets.outdated() == 0
    assert (await stores.secrets.get("erp")).reveal() == "hunter22"
    again = await rotate_wrapping_key(stores, nobody)
    assert (again.new_key, again.customers) == (True, len(TENANTS))


async def test_what_is_not_wrapped_with_the_newest_key_is_finished_without_another_key(stores: Stores) -> None:
    await entrust(stores)
    stores.keys.add(secrets.token_bytes(32))  # as far as a rotation came that was killed

    done = await rotate_wrapping_key(stores, nobody)

    assert (done.new_key, done.customers, done.resumed) == (False, len(TENANTS), True)
    assert len(stores.keys.ring()) == 2
    assert await wrapping_keys(stores) == {stores.vault.keys._wrapper.key_id}


async def test_keys_of_the_environment_are_replaced_there_without_a_moment_in_which_anything_does_not_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The steps that the documentation gives: the new key opens everywhere before it wraps anywhere."""
    old, new = (base64.b64encode(secrets.token_bytes(32)).decode() for _ in range(2))
    registry = load_plugins()

    async def started(ring: str) -> Stores:
        monkeypatch.setenv("TURNOUT_SECRET_KEY", ring)
        return await Stores.open(Settings(root=tmp_path), registry)

    first = await started(old)
    await entrust(first)
    second = await started(f"{old},{new},{old}")
    third = await started(f"{new},{old}")
    assert first.keys.derive("x") == second.keys.derive("x") == third.keys.derive("x")
    sealed = await third.vault.seal("another", "p", b"text")  # a key that is wrapped with the new one
    assert await second.vault.open("another", "p", sealed) == b"text"

    done = await rotate_wrapping_key(third, nobody)

    assert (done.new_key, done.customers, done.resumed) == (False, len(TENANTS), True)
    nothing = await rotate_wrapping_key(third, nobody)
    assert (nothing.new_key, nothing.customers, nothing.resumed) == (False, 0, False)
    fourth = await started(new)
    await all_open(fourth.catalog, fourth.vault)
    for each in (first, second, third, fourth):
        await each.close()


async def test_customers_get_new_data_keys_and_everything_is_sealed_anew(stores: Stores) -> None:
    await entrust(stores)
    before = await all_open(stores.catalog, stores.vault)

    done = await Rotation(stores.catalog, stores.vault).renew(nobody)

    after = await all_open(stores.catalog, stores.vault)
    assert (done.customers, done.values, done.unreadable, done.resumed) == (len(TENANTS), 3 * len(TENANTS), (), False)
    assert (len(before), len(after), before & after) == (len(TENANTS), len(TENANTS), set())
    note = await stores.catalog.get(Address(kind="note", tenant=TENANTS[0], name="plain"))
    connection = await stores.catalog.get(Address(kind="connection", tenant=TENANTS[0], name="erp"))
    assert note is not None
    assert connection is not None
    assert (note.body, note.revision) == (b'{"n": 1e3}', 1)
    assert (connection.due, connection.revision) == (5.0, 2)


async def test_one_customer_can_have_a_new_data_key(stores: Stores) -> None:
    await entrust(stores)
    before = await all_open(stores.catalog, stores.vault)

    done = await Rotation(stores.catalog, stores.vault).renew(nobody, tenant=TENANTS[3])

    after = await all_open(stores.catalog, stores.vault)
    assert (done.customers, done.values, len(before - after), len(after - before)) == (1, 3, 1, 1)
    with pytest.raises(NotFound, match="nobody-there"):
        await Rotation(stores.catalog, stores.vault).renew(nobody, tenant="nobody-there")


async def test_a_value_that_does_not_open_is_named_and_left_and_the_rest_is_done(stores: Stores) -> None:
    await entrust(stores)
    foreign = await stores.vault.seal(TENANTS[0], "token", b"of the first")
    address = Address(kind="token", tenant=TENANTS[1], name="raw")
    await stores.catalog.write(CatalogChange(address=address, body=foreign))

    done = await Rotation(stores.catalog, stores.vault).renew(nobody)

    found = await stores.catalog.get(address)
    assert done.unreadable == (f"token 'raw' of customer {TENANTS[1]!r}",)
    assert (done.customers, done.values) == (len(TENANTS), 3 * len(TENANTS) - 1)
    assert found is not None
    assert found.body == foreign


async def test_a_customers_value_that_the_organisation_keeps_for_a_moment_is_left_alone(stores: Stores) -> None:
    own = await stores.vault.seal("", "channel", b"of the organisation")
    pending = await stores.vault.seal("acme", "oauth-state/1", b"of a customer")
    for name, sealed in (("own", own), ("pending", pending)):
        await stores.catalog.write(CatalogChange(address=Address(kind="note", name=name), body=sealed))

    done = await Rotation(stores.catalog, stores.vault).renew(nobody)

    kept = await stores.catalog.get(Address(kind="note", name="pending"))
    assert (done.customers, done.values, done.unreadable) == (2, 1, ())
    assert kept is not None
    assert await stores.vault.open("acme", "oauth-state/1", kept.body) == b"of a customer"


async def test_a_key_service_that_fails_in_the_middle_leaves_the_rest_for_the_next_call(
    stores: Stores, tmp_path: Path
) -> None:
    """It is not taken for values that do not decrypt."""

    class Failing(LocalKeyWrapper):
        left = 20

        async def unwrap(self, wrapped: bytes, context: str) -> bytes:
            self.left -= 1
            if self.left < 0:
                raise BackendError("it cannot be reached")
            return await super().unwrap(wrapped, context)

    await entrust(stores)
    failing = Vault(stores.catalog, Failing(stores.keys))
    with pytest.raises(BackendError, match=r"of customer 'customer-\d+': it cannot be reached"):
        await Rotation(stores.catalog, failing).renew(nobody)

    done = await Rotation(stores.catalog, stores.vault).renew(nobody)

    assert (done.resumed, done.unreadable) == (True, ())
    assert 0 < done.customers < len(TENANTS)
    rings = [json.loads(entry.body)["keys"] for entry in await stores.catalog.entries(KIND)]
    assert {len(keys) for keys in rings} == {2}
    assert len(await all_open(stores.catalog, stores.vault)) == len(TENANTS)


async def test_keys_move_to_another_backend_while_both_are_there(stores: Stores, tmp_path: Path) -> None:
    await entrust(stores)
    other = LocalKeyWrapper(Keys(tmp_path / "other", environment={}))
    wrappers = {"local": stores.vault.keys._wrapper, "other": other}

    async def open_wrapper(name: str) -> LocalKeyWrapper:
        found = wrappers[name]
        assert isinstance(found, LocalKeyWrapper)
        return found

    moved = Vault(stores.catalog, other, name="other", open_wrapper=open_wrapper)
    await all_open(stores.catalog, moved)

    assert await Rotation(stores.catalog, moved).rewrap(nobody) == len(TENANTS)

    await all_open(stores.catalog, Vault(stores.catalog, other, name="other"))


ROTATING = """
import asyncio, os, sys
from pathlib import Path
from turnout.config import Settings
from turnout.local.key_rotation import rotate_wrapping_key
from turnout.local.stores import Stores
from turnout.plugins import load_plugins
from turnout.services.rotation import Rotation

async def main(root, what, dies_after):
    stores = await Stores.open(Settings(root=Path(root)), load_plugins())
    def progress(tenant, done):
        if done == int(dies_after):
            os.kill(os.getpid(), 9)
    if what == "wrapping":
        await rotate_wrapping_key(stores, progress)
    else:
        await Rotation(stores.catalog, stores.vault).renew(progress)
    await stores.close()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("what", ["wrapping", "data keys"])
async def test_a_rotation_that_is_killed_and_begun_again_never_stops_those_who_read_and_write(
    stores: Stores, what: str
) -> None:
    await entrust(stores)
    over = asyncio.Event()
    rounds = {"read": 0, "written": 0}

    async def read() -> None:
        """As another process would: its own connection, no key in memory for long."""
        database = Database(stores.directory / "turnout.db")
        while not over.is_set():
            vault = Vault(SQLiteCatalog(database), LocalKeyWrapper(Keys(stores.directory)))
            await all_open(SQLiteCatalog(database), vault)
            rounds["read"] += 1
            await asyncio.sleep(0)
        database.close()

    async def write() -> None:
        database = Database(stores.directory / "turnout.db")
        catalog = SQLiteCatalog(database)
        vault = Vault(catalog, LocalKeyWrapper(Keys(stores.directory)), clock=ManualClock())
        connections: Documents[dict[str, bytes]] = Documents(catalog, "connection", dict[str, bytes])
        while not over.is_set():
            for tenant in TENANTS:
                text = f"password of {tenant}: {rounds['written']}".encode()
                sealed = await vault.seal(tenant, "connection/erp", text)
                await connections.update("erp", lambda old, new=sealed: {**(old or {}), "password": new}, tenant=tenant)  # type: ignore[misc]
                rounds["written"] += 1
                await asyncio.sleep(0)
        database.close()

    others = asyncio.gather(read(), write())
    codes = []
    for dies_after in (7, 5, 0):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", ROTATING, str(stores.directory.parent), what, str(dies_after)
        )
        codes.append(await process.wait())
    over.set()
    await others
    last = await Rotation(stores.catalog, stores.vault).renew(nobody) if what == "data keys" else None

    assert codes == [-9, -9, 0]
    assert rounds["read"] > 1
    assert rounds["written"] > len(TENANTS)
    ids = await all_open(stores.catalog, fresh(stores, stores.keys.ring()[0]))
    assert len(ids) == len(TENANTS)
    assert len(stores.keys.ring()) == (2 if what == "wrapping" else 1)
    if last is not None:
        assert last.unreadable == ()
        rings = [json.loads(entry.body)["keys"] for entry in await stores.catalog.entries(KIND)]
        assert {len(keys) for keys in rings} == {
            3
        }  # the first, one for the rotation that was killed twice, one for the last
