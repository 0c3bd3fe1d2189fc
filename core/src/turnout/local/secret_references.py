"""What a text in settings or in a connection means: itself, or the secret that it refers to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeAlias

from turnout.errors import SettingsError
from turnout.interfaces.secrets import Secret, SecretStore
from turnout.local.environment_secrets import EnvironmentSecrets
from turnout.local.file_secrets import FileSecrets

__all__ = ["OpenStore", "SecretReferences"]

_ELSEWHERE: Final = {"aws-secretsmanager": "turnout-aws"}
"""Schemes of stores that distributions of ours bring: without them a reference must not pass for the secret itself."""

OpenStore: TypeAlias = Callable[[str], Awaitable[SecretStore | None]]


async def _no_other(_: str) -> SecretStore | None:
    return None


class SecretReferences:
    """Knows the schemes `env:` and `secret:`, and those of the stores that plugins provide, which `open_store` opens by their
    scheme, once each; None: there is no such store."""

    def __init__(self, secrets: FileSecrets, open_store: OpenStore = _no_other) -> None:
        self._environment = EnvironmentSecrets()
        self._stores: dict[str, SecretStore] = {store.scheme: store for store in (self._environment, secrets)}
        self._open_store = open_store
        self._others = frozenset(_ELSEWHERE)

    def provide(self, schemes: Iterable[str], open_store: OpenStore) -> None:
        """The stores that plugins provide."""
        self._others |= frozenset(schemes)
        self._open_store = open_store

    @property
    def schemes(self) -> tuple[str, ...]:
        """What references begin with."""
        return tuple(sorted({*self._stores, *self._others}))

    async def resolve(self, written: str) -> Secret:
        """A reference (`env:NAME`, `secret:NAME`, `aws-secretsmanager:NAME`) is looked up; other text is itself.
        `SettingsError`, `NotFound`."""
        scheme, colon, name = written.partition(":")
        store = (self._stores.get(scheme) or await self._open_store(scheme)) if colon else None
        if store is None:
            if colon and scheme in _ELSEWHERE:
                message = f"nothing here looks up `{scheme}:`: install the distribution {_ELSEWHERE[scheme]}"
                raise SettingsError(message, setting=written)
            return Secret(written)
        if not name:
            raise SettingsError(f"the reference `{scheme}:` names nothing", setting=written)
        return await store.get(name)

    async def look_up(self, written: str) -> Secret:
        """As `resolve`, of text that must be a reference. `SettingsError` if nothing looks it up; it is not shown."""
        secret = await self.resolve(written)
        if secret.reveal() == written:
            raise SettingsError("a reference is expected, `env:NAME` or `secret:NAME`, and no value")
        return secret

    async def close(self) -> None:
        await self._environment.close()
