"""A connection's tokens as they are kept: sealed, in one document with what is known of their renewal.

The document is the one place where processes agree: who renews now and until when, what failed, whether a person must connect
again. Its `due` is when the timer should look at it.
"""

from __future__ import annotations

import msgspec

from turnout.interfaces.catalog import CatalogChange, CatalogStore
from turnout.services.documents import Document, Documents
from turnout.services.vault import Vault

__all__ = ["KIND", "Lease", "TokenDocument", "TokenSet", "Tokens"]

KIND = "oauth-token"


class TokenSet(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider gave us. `expires_at` None: it did not say, so that the token is taken to be valid."""

    access_token: str
    refresh_token: str = ""
    scope: str = ""
    obtained_at: float
    expires_at: float | None = None

    def __repr__(self) -> str:
        return f"TokenSet(expires_at={self.expires_at})"


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody renews: `holder` alone may, until `until`. What is left over after that is from a process that ended, and the
    refresh token may have been used."""

    holder: str
    until: float


class TokenDocument(msgspec.Struct, frozen=True, kw_only=True):
    """`generation` counts the token sets, so that they can be told apart without opening them; `registration` is the
    fingerprint of the provider and client that they are from, the only ones who get a refresh token back. `interrupted` is a renewal that
    nobody saw the end of. `broken` says why a person must connect again; `retry_at` and `trouble` what a renewal waits for, and
    since `failures` times. `marked`: the connection's state says, or may say, that it does not work. `used`: a step had these tokens."""

    generation: int = 0
    registration: str = ""
    sealed: bytes = b""
    obtained_at: float = 0.0
    expires_at: float | None = None
    renewable: bool = False
    lease: Lease | None = None
    interrupted: bool = False
    failures: int = 0
    retry_at: float = 0.0
    trouble: str = ""
    broken: str = ""
    marked: bool = False
    used: bool = False


class Tokens:
    """Documents of all connections, and what is sealed in them."""

    def __init__(self, catalog: CatalogStore, vault: Vault) -> None:
        self.documents: Documents[TokenDocument] = Documents(catalog, KIND, TokenDocument)
        self._catalog = catalog
        self._vault = vault

    async def write(self, change: CatalogChange) -> bool:
        """As `CatalogStore.write`."""
        return await self._catalog.write(change)

    async def get(self, tenant: str, name: str) -> Document[TokenDocument] | None:
        return await self.documents.get(name, tenant=tenant)

    async def seal(self, tenant: str, name: str, tokens: TokenSet) -> bytes:
        return await self._vault.seal(tenant, _purpose(name), msgspec.json.encode(tokens))

    async def open(self, document: Document[TokenDocument]) -> TokenSet:
        """`BackendError` if it was moved here from elsewhere or changed."""
        plain = await self._vault.open(document.tenant, _purpose(document.name), document.value.sealed)
        return msgspec.json.decode(plain, type=TokenSet)


def _purpose(name: str) -> str:
    return f"oauth-token/{name}"
