"""Secrets of AWS Secrets Manager: the contract, references to them, what is remembered and for how long."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from turnout.config import Settings
from turnout.errors import BackendError, NotFound, SettingsError
from turnout.interfaces.opening import Opening
from turnout.interfaces.secrets import SecretStore
from turnout.local.stores import Stores
from turnout.plugins import load_plugins
from turnout.testing.clock import ManualClock
from turnout.testing.secrets import SecretStoreContract
from turnout_aws.secrets_manager import AwsSecrets


def put(secretsmanager: Any, name: str, text: str | bytes) -> None:
    kind = "SecretString" if isinstance(text, str) else "SecretBinary"
    try:
        secretsmanager.create_secret(Name=name, **{kind: text})
    except secretsmanager.exceptions.ResourceExistsException:
        secretsmanager.put_secret_value(SecretId=name, **{kind: text})


async def opened(server: str, clock: ManualClock | None = None, **options: Any) -> AwsSecrets:
    given = {"endpoint_url": server, **options}
    return await AwsSecrets.connect(
        Opening(directory=Path(), name="aws-secretsmanager", clock=clock or ManualClock(), options=given)
    )


class TestAwsSecrets(SecretStoreContract):
    @pytest.fixture
    async def store(self, server: str, secretsmanager: Any, present: tuple[str, str]) -> SecretStore:
        put(secretsmanager, *present)
        return await opened(server)


async def test_a_member_of_a_secret_in_json_has_a_reference_of_its_own(server: str, secretsmanager: Any) -> None:
    put(secretsmanager, "prod/erp", '{"user": "erp", "password": "pässword", "port": 8443}')
    store = await opened(server)

    found = [(await store.get(f"prod/erp#{member}")).reveal() for member in ("user", "password", "port")]

    assert found == ["erp", "pässword", "8443"]
    with pytest.raises(NotFound, match="no member 'token'") as absent:
        await store.get("prod/erp#token")
    assert "pässword" not in str(absent.value)


async def test_a_member_of_what_is_no_object_is_a_clear_error_without_the_secret(
    server: str, secretsmanager: Any
) -> None:
    put(secretsmanager, "plain", "hunter22")

    with pytest.raises(BackendError, match="no JSON object") as caught:
        await (await opened(server)).get("plain#password")

    assert "hunter22" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_bytes_are_text_or_a_clear_error(server: str, secretsmanager: Any) -> None:
    put(secretsmanager, "bytes", "pässword".encode())
    put(secretsmanager, "binary", b"\xff\xfe\x00")
    store = await opened(server)

    assert (await store.get("bytes")).reveal() == "pässword"
    with pytest.raises(BackendError, match="binary"):
        await store.get("binary")


async def test_a_changed_secret_is_seen_after_the_time_that_the_settings_say(server: str, secretsmanager: Any) -> None:
    clock = ManualClock()
    put(secretsmanager, "changing", "old")
    store = await opened(server, clock, cache=60)
    assert (await store.get("changing")).reveal() == "old"
    put(secretsmanager, "changing", "new")

    clock.advance(59)
    assert (await store.get("changing")).reveal() == "old"
    clock.advance(2)
    assert (await store.get("changing")).reveal() == "new"


async def test_a_project_refers_to_it_without_a_table_where_boto3_finds_region_and_address(
    server: str, secretsmanager: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    put(secretsmanager, "prod/erp", '{"password": "from-aws"}')
    stores = await Stores.open(Settings(root=tmp_path), load_plugins())

    found = await stores.references.resolve("aws-secretsmanager:prod/erp#password")
    texts = [(await stores.references.resolve(text)).reveal() for text in ("file:///x", "https://host/x", "a:b", "x")]

    assert found.reveal() == "from-aws"
    assert stores.references.schemes == ("aws-secretsmanager", "env", "secret")
    assert texts == ["file:///x", "https://host/x", "a:b", "x"]
    with pytest.raises(SettingsError, match="names nothing"):
        await stores.references.resolve("aws-secretsmanager:")
    with pytest.raises(NotFound, match="create-secret"):
        await stores.references.resolve("aws-secretsmanager:absent")
    await stores.close()


async def test_a_project_keeps_its_data_keys_in_kms(server: str, kms: Any, tmp_path: Path) -> None:
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    (tmp_path / "turnout.toml").write_text(
        f'[stores]\nkeys = "kms"\n[backends.kms]\nkey_id = "{key}"\nregion = "eu-central-1"\nendpoint_url = "{server}"\n'
    )
    from turnout.config import load_settings

    stores = await Stores.open(load_settings(tmp_path), load_plugins())

    sealed = await stores.vault.seal("acme", "connection/erp", b"hunter22")

    assert await stores.vault.open("acme", "connection/erp", sealed) == b"hunter22"
    await stores.close()
