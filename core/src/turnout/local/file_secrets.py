"""Secrets in an encrypted file: `secret:erp-token`.

JSON with a value for each name: the id of its key, a nonce of its own, and AES-256-GCM's text, to which the name is bound: a value
that somebody moves under another name does not decrypt. Names are not encrypted.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Final, TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from turnout.errors import BackendError, NotFound
from turnout.interfaces.secrets import Secret, SecretCapability, SecretStore
from turnout.local.durable_files import replace_file
from turnout.local.keys import Keys, derived

__all__ = ["FileSecrets"]

_T = TypeVar("_T")

_NONCE_BYTES: Final = 12
_VERSION: Final = 1


class _Sealed(msgspec.Struct, frozen=True):
    """A value: which key it was encrypted with, and nonce and ciphertext (base64 in the file)."""

    key: str
    nonce: bytes
    text: bytes


class _Content(msgspec.Struct, frozen=True):
    version: int = _VERSION
    values: dict[str, _Sealed] = {}


class FileSecrets(SecretStore):
    """Secrets in the file `path`, encrypted with `keys` (by default the ring beside the file). Safe for several
    processes: writers hold a lock and replace the file as a whole; readers see the file before or after."""

    on_this_machine: ClassVar[bool] = True

    scheme: ClassVar[str] = "secret"
    capabilities: ClassVar[frozenset[SecretCapability]] = frozenset({SecretCapability.WRITE, SecretCapability.LIST})

    def __init__(self, path: str | Path, keys: Keys | None = None) -> None:
        self._path = Path(path)
        self._keys = keys or Keys(self._path.parent)

    async def get(self, name: str) -> Secret:
        sealed = self._read().get(name)
        if sealed is None:
            raise NotFound("secret", name, hint=f"it is not in {self._path}: set it with `turnout secrets set {name}`")
        return Secret(self._opened(name, sealed))

    async def set(self, name: str, secret: Secret) -> None:
        def store(values: dict[str, _Sealed]) -> None:
            values[name] = _sealed(name, secret.reveal(), self._keys.ring()[0])

        await asyncio.to_thread(self._change, store)

    async def delete(self, name: str) -> bool:
        return await asyncio.to_thread(self._change, lambda values: values.pop(name, None) is not None)

    async def names(self) -> Sequence[str]:
        return sorted(self._read())

    async def rotate(self, new_key: bytes) -> None:
        """Encrypt every value anew with `new_key` (32 bytes), which goes in front of the key ring. The older keys stay in the
        ring, for what was derived from them, and decrypt nothing in this file any more.

        All or nothing: `BackendError` if a value cannot be decrypted. A crash in between leaves everything readable.
        """

        def encrypt_anew(values: dict[str, _Sealed]) -> None:
            plain = {name: self._opened(name, sealed) for name, sealed in values.items()}
            self._keys.add(new_key)
            values.update({name: _sealed(name, text, new_key) for name, text in plain.items()})

        await asyncio.to_thread(self._change, encrypt_anew)

    async def outdated(self) -> int:
        """How many values are not encrypted with the newest key of the ring: those of a rotation that was cut short."""
        newest = _id(self._keys.ring()[0])
        return sum(sealed.key != newest for sealed in self._read().values())

    async def close(self) -> None:
        """Nothing is held open between calls."""

    def _change(self, change: Callable[[dict[str, _Sealed]], _T]) -> _T:
        with self._locked():
            values = self._read()
            before = dict(values)
            result = change(values)
            if values != before:
                replace_file(self._path, msgspec.json.encode(_Content(values=values)))
            return result

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        path = self._path.with_name(self._path.name + ".lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise BackendError(f"{path}: {error.strerror or error}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _read(self) -> dict[str, _Sealed]:
        try:
            content = msgspec.json.decode(self._path.read_bytes(), type=_Content)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise BackendError(f"{self._path}: {error.strerror or error}") from error
        except msgspec.DecodeError as error:
            raise BackendError(f"{self._path}: the file is damaged: restore a copy, or remove it") from error
        if content.version != _VERSION:
            raise BackendError(f"{self._path}: a newer version of Turnout wrote this file: upgrade this one")
        return content.values

    def _opened(self, name: str, sealed: _Sealed) -> str:
        for key in self._keys.ring():
            if _id(key) == sealed.key:
                try:
                    return (
                        AESGCM(_encryption(key))
                        .decrypt(sealed.nonce, sealed.text, _bound(name))
                        .decode("utf-8", "surrogatepass")
                    )
                except (InvalidTag, ValueError) as error:
                    raise BackendError(
                        f"{self._path}: the secret {name!r} was changed outside of Turnout, or moved from another name: set it again"
                    ) from error
        raise BackendError(
            f"{self._path}: the secret {name!r} was encrypted with a key that is not in {self._keys!r}: restore the key, or set "
            "the secret again"
        )


def _sealed(name: str, text: str, key: bytes) -> _Sealed:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return _Sealed(
        key=_id(key),
        nonce=nonce,
        text=AESGCM(_encryption(key)).encrypt(nonce, text.encode("utf-8", "surrogatepass"), _bound(name)),
    )


def _encryption(key: bytes) -> bytes:
    return derived(key, "secret encryption")


def _id(key: bytes) -> str:
    return derived(key, "key id").hex()[:16]


def _bound(name: str) -> bytes:
    return b"turnout secret\0" + name.encode("utf-8", "surrogatepass")
