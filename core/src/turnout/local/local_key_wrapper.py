"""Data keys wrapped with the installation's own key ring, of `TURNOUT_SECRET_KEY` or the key file."""

from __future__ import annotations

import secrets
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from turnout.errors import BackendError
from turnout.interfaces.keys import KeyWrapper
from turnout.interfaces.opening import NoOptions, Opening
from turnout.local.keys import Keys, derived

__all__ = ["LocalKeyWrapper"]

_ID_BYTES: Final = 8
_NONCE_BYTES: Final = 12


class LocalKeyWrapper(KeyWrapper):
    """AES-256-GCM. What is wrapped says which key of the ring it needs: its id, a nonce of its own, the encrypted data key.
    The ring is read again at each call, so that a process follows another one's rotation."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        opening.read(NoOptions)
        return cls(Keys(opening.directory))

    @property
    def key_id(self) -> str:
        return _id(self._keys.ring()[0]).hex()

    async def wrap(self, key: bytes, context: str) -> bytes:
        wrapping = self._keys.ring()[0]
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _id(wrapping) + nonce + AESGCM(_encryption(wrapping)).encrypt(nonce, key, _bound(context))

    async def unwrap(self, wrapped: bytes, context: str) -> bytes:
        wanted, nonce = wrapped[:_ID_BYTES], wrapped[_ID_BYTES : _ID_BYTES + _NONCE_BYTES]
        for key in self._keys.ring():
            if _id(key) == wanted:
                try:
                    return AESGCM(_encryption(key)).decrypt(nonce, wrapped[_ID_BYTES + _NONCE_BYTES :], _bound(context))
                except (InvalidTag, ValueError) as error:
                    raise BackendError(
                        "a data key was changed outside of Turnout, or moved from another place"
                    ) from error
        raise BackendError(f"a data key was wrapped with a key that is not in {self._keys!r}: put that key back")

    async def close(self) -> None:
        """Nothing is held open."""


def _encryption(key: bytes) -> bytes:
    return derived(key, "data key encryption")


def _id(key: bytes) -> bytes:
    return derived(key, "key id")[:_ID_BYTES]


def _bound(context: str) -> bytes:
    return b"turnout data key\0" + context.encode("utf-8", "surrogatepass")
