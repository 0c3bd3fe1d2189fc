"""What instances run with, kept sealed in the catalog under the digest of what it says.

An execution names the digest, so that it goes on with what it began with, in whichever process.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from turnout.engine.backends import InstanceSettings
from turnout.errors import NotFound, SettingsError
from turnout.interfaces.catalog import CatalogStore
from turnout.services.connections import Connections
from turnout.services.documents import Documents
from turnout.services.vault import Vault

__all__ = ["KIND", "SettingsStore"]

KIND: Final = "settings"
_MOST_BYTES: Final = 160 * 1024
_REMEMBERED: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """`sealed` is base64, for the purpose `settings/<digest>`."""

    sealed: str = field(repr=False)


class SettingsStore:
    """Implements `turnout.engine.backends.Instances`. `key` makes digests, which tell nothing about what they are of."""

    def __init__(self, catalog: CatalogStore, vault: Vault, connections: Connections, key: bytes) -> None:
        self._documents: Documents[_Kept] = Documents(catalog, KIND, _Kept)
        self._vault = vault
        self._connections = connections
        self._key = key
        self._known: dict[tuple[str, str], InstanceSettings] = {}

    async def save(
        self, tenant: str, config: Mapping[str, Any], connections: Mapping[str, Mapping[str, Any] | str]
    ) -> str:
        """Keep settings of a customer; their digest. `SettingsError` if they are too large. What this process knows of them says
        nothing of whether they are kept still: an instance that had the same may have been deleted."""
        said = {"config": config, "connections": connections}
        text = json.dumps(said, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")
        digest = hmac.digest(self._key, tenant.encode() + b"\0" + text, hashlib.sha256).hex()
        if len(text) > _MOST_BYTES:
            raise SettingsError(
                f"the config values and connections of an instance may have {_MOST_BYTES:,} bytes, these have {len(text):,}: "
                "keep large data in a file that a flow reads"
            )
        if await self._documents.get(digest, tenant=tenant) is None:
            sealed = await self._vault.seal(tenant, _purpose(digest), text)
            await self._documents.put(digest, _Kept(sealed=base64.b64encode(sealed).decode()), tenant=tenant)
        self._remember(tenant, digest, InstanceSettings(config=dict(config), connections=dict(connections)))
        return digest

    async def settings(self, tenant: str, digest: str) -> InstanceSettings:
        known = self._known.get((tenant, digest))
        if known is not None:
            return known
        kept = await self._documents.get(digest, tenant=tenant)
        if kept is None:
            raise NotFound("settings", digest, hint=f"those of customer {tenant!r} were removed, or are kept elsewhere")
        text = await self._vault.open(tenant, _purpose(digest), base64.b64decode(kept.value.sealed))
        written = json.loads(text.decode("utf-8", "surrogatepass"))
        return self._remember(
            tenant, digest, InstanceSettings(config=written["config"], connections=written["connections"])
        )

    async def fields(self, tenant: str, settings: InstanceSettings, slot: str) -> Mapping[str, Any] | None:
        written = settings.connections.get(slot)
        return await self._connections.fields(tenant, written) if isinstance(written, str) else written

    def _remember(self, tenant: str, digest: str, settings: InstanceSettings) -> InstanceSettings:
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[tenant, digest] = settings
        return settings


def _purpose(digest: str) -> str:
    return f"settings/{digest}"
