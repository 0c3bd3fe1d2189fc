"""The secret stores keep their contract; the encrypted file gives nothing away and notices tampering."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from turnout.errors import BackendError, SettingsError
from turnout.interfaces.secrets import Secret, SecretStore
from turnout.local.environment_secrets import EnvironmentSecrets
from turnout.local.file_secrets import FileSecrets
from turnout.local.keys import Keys
from turnout.testing.secrets import SecretStoreContract

KEY = base64.b64encode(bytes(range(32))).decode()
OTHER_KEY = base64.b64encode(bytes(32)).decode()
TEXT = "hunter22-do-not-show"


class TestEnvironmentSecrets(SecretStoreContract):
    @pytest.fixture
    def store(self, present: tuple[str, str]) -> SecretStore:
        return EnvironmentSecrets(dict([present]))


class TestFileSecrets(SecretStoreContract):
    @pytest.fixture
    async def store(self, present: tuple[str, str], tmp_path: Path) -> SecretStore:
        store = FileSecrets(tmp_path / "secrets.json", Keys(tmp_path, environment={}))
        await store.set(present[0], Secret(present[1]))
        return store


@pytest.fixture
def store(tmp_path: Path) -> FileSecrets:
    return FileSecrets(tmp_path / "secrets.json", Keys(tmp_path, environment={}))


async def test_environment_secrets_follow_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNOUT_TEST_SECRET", "text")

    assert (await EnvironmentSecrets().get("TURNOUT_TEST_SECRET")).reveal() == "text"


async def test_the_file_and_its_key_are_their_owners_alone(store: FileSecrets, tmp_path: Path) -> None:
    await store.set("erp", Secret(TEXT))

    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "secret.key": 0o600,
        "secrets.json": 0o600,
        "secrets.json.lock": 0o600,
    }
    content = (tmp_path / "secrets.json").read_bytes()
    assert TEXT.encode() not in content
    assert base64.b64encode(TEXT.encode()) not in content


async def test_the_same_text_is_never_encrypted_the_same(store: FileSecrets, tmp_path: Path) -> None:
    await store.set("a", Secret(TEXT))
    await store.set("b", Secret(TEXT))

    values = json.loads((tmp_path / "secrets.json").read_text())["values"]

    assert values["a"]["nonce"] != values["b"]["nonce"]
    assert values["a"]["text"] != values["b"]["text"]


def tampered(path: Path, change: str) -> None:
    content = json.loads(path.read_text())
    values = content["values"]
    match change:
        case "moved under another name":
            values["erp"] = values["other"]
        case "text changed":
            values["erp"]["text"] = "A" * len(values["erp"]["text"])
        case "nonce changed":
            values["erp"]["nonce"] = base64.b64encode(bytes(12)).decode()
        case "nonce too short":
            values["erp"]["nonce"] = ""
        case "key unknown":
            values["erp"]["key"] = "0" * 16
        case "newer version":
            content["version"] = 2
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("moved under another name", "'erp' was changed outside"),
        ("text changed", "'erp' was changed outside"),
        ("nonce changed", "'erp' was changed outside"),
        ("nonce too short", "'erp' was changed outside"),
        ("key unknown", "key that is not in"),
        ("newer version", "upgrade"),
    ],
)
async def test_tampering_is_a_clear_error_without_a_secret(
    store: FileSecrets, tmp_path: Path, change: str, message: str
) -> None:
    await store.set("erp", Secret(TEXT))
    await store.set("other", Secret(TEXT + "2"))
    tampered(tmp_path / "secrets.json", change)

    with pytest.raises(BackendError, match=message) as caught:
        await store.get("erp")

    assert TEXT not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"version":1,"values":{"erp":{}}}'])
async def test_a_damaged_file_is_a_clear_error(store: FileSecrets, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secrets.json").write_bytes(content)

    with pytest.raises(BackendError, match="damaged"):
        await store.get("erp")
    with pytest.raises(BackendError, match="damaged"):
        await store.set("erp", Secret(TEXT))

    assert (tmp_path / "secrets.json").read_bytes() == content


async def test_another_key_does_not_decrypt(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    await FileSecrets(path, Keys(tmp_path, environment={"TURNOUT_SECRET_KEY": KEY})).set("erp", Secret(TEXT))

    with pytest.raises(BackendError, match="restore the key"):
        await FileSecrets(path, Keys(tmp_path, environment={"TURNOUT_SECRET_KEY": OTHER_KEY})).get("erp")


async def test_a_rotated_key_file_needs_the_new_key_alone(store: FileSecrets, tmp_path: Path) -> None:
    await store.set("erp", Secret(TEXT))
    await store.set("other", Secret("text"))
    new_key = bytes(range(32))

    await store.rotate(new_key)

    assert (await store.get("erp")).reveal() == TEXT
    only_new = Keys(tmp_path, environment={"TURNOUT_SECRET_KEY": base64.b64encode(new_key).decode()})
    again = FileSecrets(tmp_path / "secrets.json", only_new)
    assert [(await again.get(name)).reveal() for name in ("erp", "other")] == [TEXT, "text"]


async def test_a_running_process_follows_another_ones_rotation(store: FileSecrets, tmp_path: Path) -> None:
    await store.set("erp", Secret(TEXT))
    another = FileSecrets(tmp_path / "secrets.json", Keys(tmp_path, environment={}))

    await another.rotate(bytes(range(32)))

    assert (await store.get("erp")).reveal() == TEXT


async def test_a_key_from_the_environment_is_rotated_once_the_new_one_stands_first(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    old = FileSecrets(path, Keys(tmp_path, environment={"TURNOUT_SECRET_KEY": OTHER_KEY}))
    await old.set("erp", Secret(TEXT))

    with pytest.raises(SettingsError, match="put the new key first"):
        await old.rotate(base64.b64decode(KEY))
    both = FileSecrets(path, Keys(tmp_path, environment={"TURNOUT_SECRET_KEY": f"{KEY}, {OTHER_KEY}"}))
    await both.rotate(base64.b64decode(KEY))

    new = FileSecrets(path, Keys(tmp_path, environment={"TURNOUT_SECRET_KEY": KEY}))
    assert (await new.get("erp")).reveal() == TEXT


async def test_rotation_changes_nothing_if_a_value_does_not_decrypt(store: FileSecrets, tmp_path: Path) -> None:
    await store.set("erp", Secret(TEXT))
    await store.set("other", Secret(TEXT))
    tampered(tmp_path / "secrets.json", "text changed")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    with pytest.raises(BackendError, match="'erp'"):
        await store.rotate(bytes(range(32)))

    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


WRITING = """
import asyncio, sys
from pathlib import Path
from turnout.interfaces.secrets import Secret
from turnout.local.file_secrets import FileSecrets

async def main(path, writer):
    store = FileSecrets(path)
    for number in range(10):
        await store.set(f"{writer}-{number}", Secret("text"))

asyncio.run(main(Path(sys.argv[1]) / "secrets.json", sys.argv[2]))
"""


async def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITING, tmp_path, str(writer)]) for writer in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4

    names = await FileSecrets(tmp_path / "secrets.json").names()

    assert len(names) == 40


def test_derived_keys_are_stable_and_apart(tmp_path: Path) -> None:
    keys = Keys(tmp_path, environment={})
    again = Keys(tmp_path, environment={})

    assert len(keys.derive("callbacks")) == 32
    assert keys.derive("callbacks") == again.derive("callbacks")
    assert keys.derive("callbacks") != keys.derive("idempotency")
    assert keys.derive("callbacks") not in keys.ring()


def test_a_new_key_in_front_changes_no_derived_key(tmp_path: Path) -> None:
    keys = Keys(tmp_path, environment={})
    before = keys.derive("callbacks")

    keys.add(bytes(range(32)))

    assert keys.ring()[0] == bytes(range(32))
    assert keys.derive("callbacks") == before == Keys(tmp_path, environment={}).derive("callbacks")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    Keys(tmp_path, environment={})
    (tmp_path / "secret.key").chmod(mode)

    with pytest.raises(SettingsError, match="chmod 600"):
        Keys(tmp_path, environment={})


@pytest.mark.parametrize("value", ["", "  ", "short", KEY[:-4], KEY + "AAAA", f"{KEY},short-and-secret", "!" * 44])
def test_a_wrong_key_is_told_without_showing_it(tmp_path: Path, value: str) -> None:
    with pytest.raises(SettingsError, match=r"TURNOUT_SECRET_KEY.*32 bytes in base64") as caught:
        Keys(tmp_path, environment={"TURNOUT_SECRET_KEY": value})

    shown = "".join(traceback.format_exception(caught.value))
    assert KEY not in shown
    assert "short-and-secret" not in shown


def test_keys_do_not_show_themselves(tmp_path: Path) -> None:
    assert KEY not in repr(Keys(tmp_path, environment={"TURNOUT_SECRET_KEY": KEY}))


def test_a_key_from_the_environment_writes_no_file(tmp_path: Path) -> None:
    Keys(tmp_path, environment={"TURNOUT_SECRET_KEY": KEY})

    assert list(tmp_path.iterdir()) == []


async def test_text_that_is_not_unicode_is_kept(store: FileSecrets) -> None:
    await store.set("erp", Secret("a\udcffb"))

    assert (await store.get("erp")).reveal() == "a\udcffb"
