"""Data keys wrapped by KMS: the contract, and what KMS adds: keys that are not fit, disabled, out of reach."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import threading
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from turnout.errors import BackendError, SettingsError
from turnout.interfaces.keys import KeyWrapper
from turnout.interfaces.opening import Opening
from turnout.testing.keys import KeyWrapperContract
from turnout_aws.clients import CallFailed, make_client
from turnout_aws.kms_keys import KmsKeyWrapper, KmsOptions

KEY = bytes(range(32))


def new_key(kms: Any, **options: Any) -> str:
    arn: str = kms.create_key(**options)["KeyMetadata"]["Arn"]
    return arn


async def opened(server: str, **options: Any) -> KmsKeyWrapper:
    given = {"region": "eu-central-1", "endpoint_url": server, **options}
    return await KmsKeyWrapper.connect(Opening(directory=Path(), name="kms", options=given))


class TestKmsKeyWrapper(KeyWrapperContract):
    @pytest.fixture
    def key(self, kms: Any) -> str:
        return new_key(kms)

    @pytest.fixture
    async def wrapper(self, server: str, key: str) -> KeyWrapper:
        return await opened(server, key_id=key)

    @pytest.fixture
    async def another(self, server: str, key: str) -> KeyWrapper:
        return await opened(server, key_id=key.rpartition("/")[2])

    @pytest.fixture
    def rotated(self, server: str, kms: Any, key: str) -> Callable[[], Awaitable[KeyWrapper]]:
        return lambda: opened(server, key_id=new_key(kms), former_key_ids=[key])

    @pytest.fixture
    async def stranger(self, server: str, kms: Any) -> KeyWrapper:
        return await opened(server, key_id=new_key(kms))


async def test_an_alias_names_the_key_that_it_stands_for_at_the_start(server: str, kms: Any) -> None:
    arn = new_key(kms)
    kms.create_alias(AliasName="alias/turnout-test", TargetKeyId=arn)

    wrapper = await opened(server, key_id="alias/turnout-test")

    assert wrapper.key_id == arn
    assert wrapper.describe() == f"AWS KMS, {arn}"


async def test_a_key_that_is_not_there_is_named(server: str) -> None:
    with pytest.raises(SettingsError, match=r"backends\.kms\.key_id: KMS does not describe 'alias/absent'") as caught:
        await opened(server, key_id="alias/absent")

    assert caught.value.setting == "backends.kms.key_id"


async def test_a_key_that_is_disabled_or_of_another_kind_is_refused_at_the_start(server: str, kms: Any) -> None:
    disabled = new_key(kms)
    kms.disable_key(KeyId=disabled.rpartition("/")[2])
    signing = new_key(kms, KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")

    with pytest.raises(SettingsError, match="is Disabled: enable it"):
        await opened(server, key_id=disabled)
    with pytest.raises(SettingsError, match="is RSA_2048: a symmetric key"):
        await opened(server, key_id=signing)


async def test_settings_are_checked(server: str) -> None:
    with pytest.raises(SettingsError, match=r"backends\.kms\.key_id: it must be set"):
        await opened(server)
    with pytest.raises(SettingsError, match="did you mean 'region'"):
        await KmsKeyWrapper.connect(Opening(directory=Path(), name="kms", options={"key_id": "x", "regio": "x"}))


async def test_without_a_region_it_says_what_to_set(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")

    with pytest.raises(SettingsError, match=r"backends\.kms\.region: it must be set"):
        await KmsKeyWrapper.connect(Opening(directory=Path(), name="kms", options={"key_id": "x"}))


async def test_without_credentials_it_says_what_to_set(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    with pytest.raises(BackendError, match="no credentials of AWS were found"):
        await opened(server, key_id="x")


async def test_a_service_that_cannot_be_reached_is_a_clear_error() -> None:
    with pytest.raises(BackendError, match="AWS cannot be reached"):
        await opened("http://127.0.0.1:9", key_id="x")


@contextmanager
def refusing(code: str, message: str) -> Iterator[str]:
    """A server that answers every request as KMS refuses one: the stand-in for all of KMS takes disabled keys, too."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps({"__type": code, "message": message}).encode()
            self.send_response(400)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("DisabledException", "enable the key"),
        ("KMSInvalidStateException", "enable the key"),
        ("NotFoundException", "enable the key"),
        ("InvalidCiphertextException", "changed outside of Turnout"),
        ("IncorrectKeyException", "changed outside of Turnout"),
        ("AccessDeniedException", "needs that permission"),
        ("UnrecognizedClientException", "credentials of AWS"),
    ],
)
async def test_a_refusal_says_what_to_do_and_shows_no_key(code: str, said: str) -> None:
    with refusing(code, "it is so") as url:
        client = make_client("kms", KmsOptions(key_id="x", region="eu-central-1", endpoint_url=url), setting="kms")
        wrapper = KmsKeyWrapper(client, "arn:aws:kms:eu-central-1:1:key/x", frozenset())

        with pytest.raises(BackendError, match=said):
            await wrapper.unwrap(b"wrapped", "acme")
        with pytest.raises(CallFailed, match=code) as caught:
            await wrapper.wrap(KEY, "acme")

        await wrapper.close()
    shown = "".join(traceback.format_exception(caught.value))
    assert base64.b64encode(KEY).decode() not in shown
    assert str(KEY) not in shown


async def test_what_the_client_itself_refuses_is_not_shown(server: str, kms: Any) -> None:
    wrapper = await opened(server, key_id=new_key(kms))
    wrong: Any = {"text": "".join(("hunter", "22"))}  # put together here, since a traceback shows this file's lines

    with pytest.raises(BackendError, match="refused what was given") as caught:
        await wrapper.wrap(wrong, "acme")

    assert "hunter22" not in "".join(traceback.format_exception(caught.value))


async def test_the_event_loop_goes_on_while_kms_is_asked(server: str, kms: Any) -> None:
    wrapper = await opened(server, key_id=new_key(kms))
    asked_on: list[threading.Thread] = []
    wrapper._client.meta.events.register("before-send", lambda **_: asked_on.append(threading.current_thread()))

    await asyncio.gather(*(wrapper.wrap(KEY, "acme") for _ in range(4)))

    assert len(asked_on) == 4
    assert threading.main_thread() not in asked_on


async def test_the_customer_stands_in_the_encryption_context(server: str, kms: Any) -> None:
    """As CloudTrail shows it, and a key policy can ask for it."""
    wrapper = await opened(server, key_id=new_key(kms))

    wrapped = await wrapper.wrap(KEY, "data-key/1/acme gmbh")

    answer = kms.decrypt(CiphertextBlob=wrapped, EncryptionContext={"turnout": "data-key/1/acme%20gmbh"})
    assert answer["Plaintext"] == KEY


async def test_keys_are_in_no_log_at_any_level(server: str, kms: Any, caplog: pytest.LogCaptureFixture) -> None:
    wrapper = await opened(server, key_id=new_key(kms))
    with caplog.at_level(logging.DEBUG):
        await wrapper.unwrap(await wrapper.wrap(KEY, "acme"), "acme")

    assert base64.b64encode(KEY).decode() not in caplog.text
    assert str(KEY) not in caplog.text
