"""Instances of the embedded backend: what is deployed, and with which settings.

Config values and connections of an instance are stored under the digest of what they say, encrypted: connections may
hold credentials as they are. An execution names the digest, so that it goes on with what it began with.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from turnout.engine.backends import InstanceSettings
from turnout.errors import NotFound, StepError
from turnout.interfaces.secrets import Secret, SecretStore
from turnout.services.submission import Instance

__all__ = ["LocalInstances"]


class LocalInstances:
    """Instances by name, in memory; their settings by digest, in a secret store. `check` refuses some to be there together."""

    def __init__(
        self, secrets: SecretStore, key: bytes, check: Callable[[Iterable[Instance]], None] = lambda instances: None
    ) -> None:
        self._secrets = secrets
        self._key = key
        self._check = check
        self._known: dict[str, InstanceSettings] = {}
        self._instances: dict[str, Instance] = {}

    async def save(self, config: Mapping[str, Any], connections: Mapping[str, Mapping[str, Any]]) -> str:
        """Keep settings; their digest, which tells nothing about them."""
        text = json.dumps({"config": config, "connections": connections}, sort_keys=True, ensure_ascii=False)
        digest = hmac.digest(self._key, text.encode(), hashlib.sha256).hex()
        if digest not in self._known:
            await self._secrets.set(_name(digest), Secret(text))
            self._known[digest] = InstanceSettings(config=dict(config), connections=dict(connections))
        return digest

    async def settings(self, tenant: str, digest: str) -> InstanceSettings:
        known = self._known.get(digest)
        if known is None:
            written = json.loads((await self._secrets.get(_name(digest))).reveal())
            known = InstanceSettings(config=written["config"], connections=written["connections"])
            self._known[digest] = known
        return known

    async def fields(self, tenant: str, settings: InstanceSettings, slot: str) -> Mapping[str, Any] | None:
        written = settings.connections.get(slot)
        if isinstance(written, str):
            raise StepError(
                f"connection {slot!r}: there is no connection {written!r}", kind="connection", retryable=False
            )
        return written

    def deploy(self, instance: Instance) -> None:
        """Make it the one of its name: executions accepted from now on run it. `SettingsError` if it must not be beside the
        others."""
        after = {**self._instances, instance.name: instance}
        self._check(after.values())
        self._instances = after

    def withdraw(self, name: str) -> None:
        """Accept nothing more for it; its executions go on."""
        self._instances.pop(name, None)

    def all(self) -> tuple[Instance, ...]:
        return tuple(self._instances[name] for name in sorted(self._instances))

    async def get(self, name: str) -> Instance:
        """`NotFound` names what there is."""
        if name not in self._instances:
            known = ", ".join(sorted(self._instances)) or "none"
            raise NotFound("instance", name, hint=f"there are: {known}")
        return self._instances[name]


def _name(digest: str) -> str:
    return f"settings/{digest}"
