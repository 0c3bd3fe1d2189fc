"""What the vault seals opens for that customer and purpose alone, in every process, and is nowhere in the clear."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
from pathlib import Path

import pytest
from turnout.errors import BackendError
from turnout.interfaces.catalog import CatalogChange
from turnout.local.database import Database
from turnout.local.keys import Keys
from turnout.local.local_key_wrapper import LocalKeyWrapper
from turnout.local.memory_catalog import MemoryCatalog
from turnout.local.sqlite_catalog import SQLiteCatalog
from turnout.services.data_keys import CACHED_S, KIND
from turnout.services.documents import Documents
from turnout.services.vault import MAGIC, Vault
from turnout.testing.clock import ManualClock

TEXT = b"hunter22-of-acme"
PURPOSE = "connection/erp"


class CountingWrapper(LocalKeyWrapper):
    """Counts what a key service would be asked."""

    calls = 0

    async def wrap(self, key: bytes, context: str) -> bytes:
        self.calls += 1
        await asyncio.sleep(0)
        return await super().wrap(key, context)

    async def unwrap(self, wrapped: bytes, context: str) -> bytes:
        self.calls += 1
        await asyncio.sleep(0)
        return await super().unwrap(wrapped, context)


@pytest.fixture
def wrapper(tmp_path: Path) -> CountingWrapper:
    return CountingWrapper(Keys(tmp_path, environment={}))


@pytest.fixture
def catalog() -> MemoryCatalog:
    return MemoryCatalog()


@pytest.fixture
def vault(catalog: MemoryCatalog, wrapper: CountingWrapper) -> Vault:
    return Vault(catalog, wrapper, clock=ManualClock())


@pytest.mark.parametrize("plain", [b"", TEXT, b"\0\xff" * 100_000], ids=["nothing", "text", "large"])
async def test_what_is_sealed_opens_in_every_process(
    vault: Vault, catalog: MemoryCatalog, wrapper: CountingWrapper, plain: bytes
) -> None:
    sealed = await vault.seal("acme", PURPOSE, plain)

    assert await vault.open("acme", PURPOSE, sealed) == plain
    assert await Vault(catalog, wrapper).open("acme", PURPOSE, sealed) == plain


async def test_neither_the_value_nor_a_key_is_in_what_is_kept(vault: Vault, catalog: MemoryCatalog) -> None:
    sealed = await vault.seal("acme", PURPOSE, TEXT)

    _, key = await vault.keys.newest("acme")
    kept = sealed + b"".join(entry.body for entry in await catalog.entries(KIND))
    assert b"hunter22" not in kept
    assert key not in kept
    assert base64.b64encode(key) not in kept
    assert await vault.seal("acme", PURPOSE, TEXT) != sealed


@pytest.mark.parametrize(
    ("tenant", "purpose"), [("globex", PURPOSE), ("acme", "connection/crm"), ("acme", "connection/er"), ("", PURPOSE)]
)
async def test_it_opens_for_its_own_customer_and_purpose_alone(vault: Vault, tenant: str, purpose: str) -> None:
    sealed = await vault.seal("acme", PURPOSE, TEXT)
    await vault.seal(tenant, purpose, b"another")

    with pytest.raises(BackendError) as caught:
        await vault.open(tenant, purpose, sealed)

    assert "hunter22" not in str(caught.value)


async def test_neither_a_moved_row_nor_a_moved_key_decrypts(tmp_path: Path, wrapper: CountingWrapper) -> None:
    database = Database(tmp_path / "turnout.db")
    catalog = SQLiteCatalog(database)
    rows: Documents[bytes] = Documents(catalog, "connection", bytes)
    vault = Vault(catalog, wrapper)
    for tenant in ("acme", "globex"):
        await rows.put("erp", await vault.seal(tenant, PURPOSE, tenant.encode()), tenant=tenant)

    # Somebody who can write the table gives globex what acme entrusted: the connection, then acme's keys as well.
    await database.write(
        lambda sql: sql.execute(
            "UPDATE catalog SET body = (SELECT body FROM catalog WHERE kind = ? AND tenant = ?) WHERE kind = ? AND tenant = ?",
            (b"connection", b"acme", b"connection", b"globex"),
        )
    )
    moved = await rows.get("erp", tenant="globex")
    assert moved is not None
    with pytest.raises(BackendError, match="another customer's"):
        await Vault(catalog, wrapper).open("globex", PURPOSE, moved.value)
    await database.write(
        lambda sql: sql.execute(
            "UPDATE catalog SET body = (SELECT body FROM catalog WHERE kind = ? AND tenant = ?) WHERE kind = ? AND tenant = ?",
            (KIND.encode(), b"acme", KIND.encode(), b"globex"),
        )
    )
    with pytest.raises(BackendError, match="moved"):
        await Vault(catalog, wrapper).open("globex", PURPOSE, moved.value)
    assert await Vault(catalog, wrapper).open("acme", PURPOSE, moved.value) == b"acme"
    await database.aclose()


async def test_a_row_moved_to_another_connection_of_the_same_customer_does_not_decrypt(
    tmp_path: Path, wrapper: CountingWrapper
) -> None:
    database = Database(tmp_path / "turnout.db")
    rows: Documents[bytes] = Documents(SQLiteCatalog(database), "connection", bytes)
    vault = Vault(SQLiteCatalog(database), wrapper)
    for name in ("erp", "crm"):
        await rows.put(name, await vault.seal("acme", f"connection/{name}", name.encode()), tenant="acme")

    await database.write(
        lambda sql: sql.execute(
            "UPDATE catalog SET body = (SELECT body FROM catalog WHERE kind = ? AND name = ?) WHERE kind = ? AND name = ?",
            (b"connection", b"erp", b"connection", b"crm"),
        )
    )

    moved = await rows.get("crm", tenant="acme")
    assert moved is not None
    with pytest.raises(BackendError, match="not what was sealed for it"):
        await vault.open("acme", "connection/crm", moved.value)
    await database.aclose()


SEALING = """
import asyncio, sys
from pathlib import Path
from turnout.local.database import Database
from turnout.local.keys import Keys
from turnout.local.local_key_wrapper import LocalKeyWrapper
from turnout.local.sqlite_catalog import SQLiteCatalog
from turnout.services.vault import Vault

async def main(directory):
    catalog = SQLiteCatalog(Database(Path(directory) / "turnout.db"))
    vault = Vault(catalog, LocalKeyWrapper(Keys(directory, environment={})))
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(100):
        print((await vault.seal(f"customer-{number}", "connection/erp", b"text")).hex(), flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_processes_make_one_first_key_for_each_customer(tmp_path: Path) -> None:
    """All at once, each customer's first value, and the wrapping key's file before it."""
    command = [sys.executable, "-c", SEALING, str(tmp_path)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for process in processes:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == "ready\n"
    sealed = await asyncio.gather(*(asyncio.to_thread(process.communicate, "go\n") for process in processes))

    assert [process.returncode for process in processes] == [0] * 3
    database = Database(tmp_path / "turnout.db")
    vault = Vault(SQLiteCatalog(database), LocalKeyWrapper(Keys(tmp_path, environment={})))
    for number, texts in enumerate(zip(*(printed.split() for printed, _ in sealed), strict=True)):
        values = [bytes.fromhex(text) for text in texts]
        assert len({value[len(MAGIC) : len(MAGIC) + 8] for value in values}) == 1
        assert [await vault.open(f"customer-{number}", PURPOSE, value) for value in values] == [b"text"] * 3
    await database.aclose()


async def test_another_purpose_written_over_it_does_not_open(vault: Vault) -> None:
    sealed = await vault.seal("acme", PURPOSE, TEXT)

    with pytest.raises(BackendError, match="does not decrypt"):
        await vault.open("acme", "connection/crm", sealed.replace(b"connection/erp", b"connection/crm"))


async def test_no_changed_byte_is_accepted(vault: Vault) -> None:
    sealed = await vault.seal("acme", PURPOSE, TEXT)

    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(BackendError):
            await vault.open("acme", PURPOSE, bytes(changed))
    for length in range(len(sealed)):
        with pytest.raises(BackendError):
            await vault.open("acme", PURPOSE, sealed[:length])


async def test_processes_that_make_the_first_key_at_once_agree_on_one(
    catalog: MemoryCatalog, wrapper: CountingWrapper
) -> None:
    vaults = [Vault(catalog, wrapper) for _ in range(8)]

    sealed = await asyncio.gather(*(vault.seal("acme", PURPOSE, TEXT) for vault in vaults))

    assert len({text[len(MAGIC) : len(MAGIC) + 8] for text in sealed}) == 1
    assert [await vaults[0].open("acme", PURPOSE, text) for text in sealed] == [TEXT] * 8


async def test_a_data_key_is_asked_for_once_in_five_minutes(catalog: MemoryCatalog, wrapper: CountingWrapper) -> None:
    sealed = await Vault(catalog, wrapper).seal("acme", PURPOSE, TEXT)
    clock = ManualClock()
    vault = Vault(catalog, wrapper, clock=clock)
    wrapper.calls = 0

    await asyncio.gather(*(vault.open("acme", PURPOSE, sealed) for _ in range(50)))
    assert wrapper.calls == 1
    clock.advance(CACHED_S - 1)
    await vault.open("acme", PURPOSE, sealed)
    assert wrapper.calls == 1
    clock.advance(2)
    await vault.open("acme", PURPOSE, sealed)
    assert wrapper.calls == 2


async def test_a_wrapping_key_that_is_gone_is_a_clear_error(
    catalog: MemoryCatalog, wrapper: CountingWrapper, tmp_path: Path
) -> None:
    sealed = await Vault(catalog, wrapper).seal("acme", PURPOSE, TEXT)
    other = LocalKeyWrapper(Keys(tmp_path / "other", environment={}))

    with pytest.raises(BackendError, match="put that key back"):
        await Vault(catalog, other).open("acme", PURPOSE, sealed)


async def test_a_data_key_of_a_backend_that_is_not_there_is_a_clear_error(
    catalog: MemoryCatalog, wrapper: CountingWrapper
) -> None:
    sealed = await Vault(catalog, wrapper, name="kms").seal("acme", PURPOSE, TEXT)

    with pytest.raises(BackendError, match="'kms'"):
        await Vault(catalog, wrapper, name="local").open("acme", PURPOSE, sealed)


async def test_a_removed_data_key_is_a_clear_error(
    vault: Vault, catalog: MemoryCatalog, wrapper: CountingWrapper
) -> None:
    sealed = await vault.seal("acme", PURPOSE, TEXT)
    [entry] = await catalog.entries(KIND)
    await catalog.write(CatalogChange(address=entry.address, body=None))

    with pytest.raises(BackendError, match="no data key"):
        await Vault(catalog, wrapper).open("acme", PURPOSE, sealed)


async def test_a_purpose_too_long_to_be_written_is_refused(vault: Vault) -> None:
    with pytest.raises(ValueError, match="65535"):
        await vault.seal("acme", "x" * 65536, TEXT)
