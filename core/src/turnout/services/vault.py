"""The vault: encrypts what customers entrust to the platform before it is kept in the catalog or anywhere else.

Envelope encryption: a value is encrypted with a data key of its customer (AES-256-GCM), and the data key is kept wrapped by a key
that is elsewhere (`turnout.interfaces.keys`). A sealed value says, in the clear, which data key it needs and what it is for:

    magic (6 bytes) | data key id (8) | length of the purpose (2) | purpose | nonce (12) | ciphertext and tag

All before the nonce and the customer are authenticated, so that a value that is moved to another customer or to another purpose
does not open. The magic is six bytes, so that a sealed value is known by its first eight characters in base64 too.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from turnout.errors import BackendError
from turnout.interfaces.catalog import CatalogStore
from turnout.interfaces.clock import Clock, SystemClock
from turnout.interfaces.keys import KeyWrapper
from turnout.services.data_keys import DataKeys, DoesNotOpen, OpenWrapper

__all__ = ["MAGIC", "Vault", "key_and_purpose"]

MAGIC: Final = b"\x00TOsl1"
_ID_BYTES: Final = 8
_LENGTH_BYTES: Final = 2
_NONCE_BYTES: Final = 12
_HEAD_BYTES: Final = len(MAGIC) + _ID_BYTES + _LENGTH_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    head: bytes
    key_id: bytes
    purpose: str
    nonce: bytes
    text: bytes


class Vault:
    """Seals and opens values of customers. Data keys are made when first needed and remembered for `CACHED_S`.

    No error contains a value or a key. A data key may seal 2³² values before its nonces might repeat (NIST SP 800-38D).
    """

    def __init__(
        self,
        catalog: CatalogStore,
        wrapper: KeyWrapper,
        *,
        name: str = "local",
        open_wrapper: OpenWrapper | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`name` is the wrapper's in settings. `open_wrapper` gives those that data keys were wrapped by before."""
        self.keys = DataKeys(
            catalog, wrapper, name=name, open_wrapper=open_wrapper or _no_other, clock=clock or SystemClock()
        )

    async def seal(self, tenant: str, purpose: str, plain: bytes) -> bytes:
        """`plain`, encrypted for this customer and this purpose (`connection/erp`; at most 65,535 bytes of UTF-8).
        `BackendError` if the wrapping key is out of reach."""
        key_id, key = await self.keys.newest(tenant)
        head = _head(key_id, purpose)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return head + nonce + AESGCM(key).encrypt(nonce, plain, _bound(head, tenant))

    async def open(self, tenant: str, purpose: str, sealed: bytes) -> bytes:
        """What was sealed for this customer and purpose. `DoesNotOpen` for anything else and for what was changed,
        `BackendError` if the wrapping key is out of reach."""
        parts = _parts(sealed)
        if parts is None or parts.purpose != purpose:
            raise DoesNotOpen(f"what is kept for {_whose(tenant, purpose)} is not what was sealed for it: {_HINT}")
        key = await self.keys.get(tenant, parts.key_id)
        try:
            return AESGCM(key).decrypt(parts.nonce, parts.text, _bound(parts.head, tenant))
        except (InvalidTag, ValueError) as error:
            raise DoesNotOpen(f"what is kept for {_whose(tenant, purpose)} does not decrypt: {_HINT}") from error


_HINT: Final = "it was changed outside of Turnout, or moved from another place: enter it again"


def key_and_purpose(sealed: bytes) -> tuple[bytes, str] | None:
    """Which data key a sealed value needs, and what it is for; None if it is none."""
    parts = _parts(sealed)
    return None if parts is None else (parts.key_id, parts.purpose)


def _head(key_id: bytes, purpose: str) -> bytes:
    text = purpose.encode("utf-8", "surrogatepass")
    if len(text) >= 1 << 8 * _LENGTH_BYTES:
        raise ValueError("a purpose has at most 65535 bytes")
    return MAGIC + key_id + len(text).to_bytes(_LENGTH_BYTES, "big") + text


def _parts(sealed: bytes) -> _Parts | None:
    if not sealed.startswith(MAGIC) or len(sealed) < _HEAD_BYTES:
        return None
    id_end = len(MAGIC) + _ID_BYTES
    start = _HEAD_BYTES + int.from_bytes(sealed[id_end:_HEAD_BYTES], "big")
    try:
        purpose = sealed[_HEAD_BYTES:start].decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None
    nonce = sealed[start : start + _NONCE_BYTES]
    if len(nonce) < _NONCE_BYTES:
        return None
    return _Parts(
        head=sealed[:start],
        key_id=sealed[len(MAGIC) : id_end],
        purpose=purpose,
        nonce=nonce,
        text=sealed[start + _NONCE_BYTES :],
    )


def _bound(head: bytes, tenant: str) -> bytes:
    return head + tenant.encode("utf-8", "surrogatepass")


def _whose(tenant: str, purpose: str) -> str:
    return f"{purpose!r} of customer {tenant!r}"


async def _no_other(name: str) -> KeyWrapper:
    raise BackendError(f"a data key was wrapped by {name!r}, which is not here")
