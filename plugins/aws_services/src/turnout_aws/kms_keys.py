"""Data keys wrapped by AWS KMS: the wrapping key never leaves it, and each use of it stands in CloudTrail with its customer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Self
from urllib.parse import quote

from pydantic import Field
from turnout.errors import BackendError, SettingsError
from turnout.interfaces.keys import KeyWrapper
from turnout.interfaces.opening import Opening
from turnout.interfaces.permission import Permission

from turnout_aws.clients import AwsOptions, CallFailed, call, connect_client
from turnout_aws.permissions import allowed, arn

__all__ = ["KmsKeyWrapper", "KmsOptions"]

_FIT: Final = (("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"), ("SYMMETRIC_DEFAULT", None))
_CHANGED: Final = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
_GONE: Final = frozenset(
    {"NotFoundException", "DisabledException", "KMSInvalidStateException", "KeyUnavailableException"}
)


class KmsOptions(AwsOptions):
    """`[backends.kms]`."""

    key_id: str = Field(min_length=1, description="The key: its id, its ARN, or an alias, `alias/turnout`.")
    former_key_ids: tuple[str, ...] = Field(
        default=(), strict=False, description="Keys that data keys may still be wrapped with, until they are rotated."
    )


class KmsKeyWrapper(KeyWrapper):
    """A symmetric key of KMS. The context is the encryption context `turnout`, percent-encoded."""

    def __init__(self, client: Any, key: str, allowed: frozenset[tuple[str, str]]) -> None:
        """`key` is the ARN of the key that wraps; `allowed` are the keys, as `_identity` has them, that may have wrapped."""
        self._client = client
        self._key = key
        self._allowed = allowed

    @classmethod
    def permissions(cls, opening: Opening) -> Sequence[Permission]:
        options = opening.read(KmsOptions)
        keys = [_resource(key, options) for key in (options.key_id, *options.former_key_ids)]
        return allowed(options, ("kms:Encrypt", "kms:Decrypt", "kms:DescribeKey"), list(dict.fromkeys(keys)))

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        options = opening.read(KmsOptions)
        setting = f"backends.{opening.name}"
        client = await connect_client("kms", options, setting=setting)
        key = await _described(client, options.key_id, f"{setting}.key_id")
        former = [await _described(client, one, f"{setting}.former_key_ids") for one in options.former_key_ids]
        return cls(client, key, frozenset(map(_identity, (key, *former))))

    @property
    def key_id(self) -> str:
        return self._key

    async def wrap(self, key: bytes, context: str) -> bytes:
        answer = await call(
            f"KMS could not encrypt a data key with {self._key}",
            self._client.encrypt,
            KeyId=self._key,
            Plaintext=key,
            EncryptionContext=_bound(context),
        )
        wrapped: bytes = answer["CiphertextBlob"]
        return wrapped

    async def unwrap(self, wrapped: bytes, context: str) -> bytes:
        what = "KMS could not decrypt a data key"
        if not wrapped:
            raise BackendError(f"{what}: there is none")
        try:
            answer = await call(what, self._client.decrypt, CiphertextBlob=wrapped, EncryptionContext=_bound(context))
        except CallFailed as error:
            if error.code in _CHANGED:
                raise BackendError(f"{what}: it was changed outside of Turnout, or moved from another place") from error
            if error.code in _GONE:
                raise BackendError(f"{error}: enable the key it was wrapped with, or cancel its deletion") from error
            raise
        # Who can write the catalog could put a key there that is wrapped by a key of theirs, and knows it.
        if _identity(answer["KeyId"]) not in self._allowed:
            raise BackendError(
                f"{what}: it was wrapped with {answer['KeyId']}, which is neither key_id nor among former_key_ids"
            )
        plain: bytes = answer["Plaintext"]
        return plain

    def describe(self) -> str:
        return f"AWS KMS, {self._key}"

    async def close(self) -> None:
        self._client.close()


async def _described(client: Any, key_id: str, setting: str) -> str:
    """The ARN of a key that is fit to wrap; `SettingsError` says what is wrong with it."""
    try:
        found = (await call(f"{setting}: KMS does not describe {key_id!r}", client.describe_key, KeyId=key_id))[
            "KeyMetadata"
        ]
    except CallFailed as error:
        if error.code in ("NotFoundException", "InvalidArnException", "ValidationException"):
            raise SettingsError(str(error), setting=setting) from error
        raise
    if found["KeyState"] != "Enabled":
        raise SettingsError(f"{setting}: the key {found['Arn']} is {found['KeyState']}: enable it", setting=setting)
    if (found.get("KeySpec"), found.get("KeyUsage")) not in _FIT:
        message = (
            f"{setting}: the key {found['Arn']} is {found.get('KeySpec')}: a symmetric key that encrypts is needed"
        )
        raise SettingsError(message, setting=setting)
    arn: str = found["Arn"]
    return arn


def _resource(key: str, options: KmsOptions) -> str:
    """A policy names keys, and no alias: which key one stands for is known when it is looked up."""
    if key.startswith("arn:") and ":alias/" not in key:
        return key
    return arn("kms", "key/*" if "alias/" in key else f"key/{key}", options)


def _bound(context: str) -> dict[str, str]:
    return {"turnout": quote(context, errors="surrogatepass")}


def _identity(arn: str) -> tuple[str, str]:
    """Account and id of a key: those of a key of several regions are the same in each."""
    *_, account, key = arn.split(":")
    return account, key
