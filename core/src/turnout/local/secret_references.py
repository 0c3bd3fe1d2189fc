"""What a text in settings or in a connection means: itself, or the secret that it refers to."""

from __future__ import annotations

from turnout.errors import SettingsError
from turnout.interfaces.secrets import Secret, SecretStore
from turnout.local.environment_secrets import EnvironmentSecrets
from turnout.local.file_secrets import FileSecrets

__all__ = ["SecretReferences"]


class SecretReferences:
    """Knows the schemes `env:` and `secret:`."""

    def __init__(self, secrets: FileSecrets) -> None:
        self._environment = EnvironmentSecrets()
        self._stores: dict[str, SecretStore] = {store.scheme: store for store in (self._environment, secrets)}

    @property
    def schemes(self) -> tuple[str, ...]:
        return tuple(self._stores)

    async def resolve(self, written: str) -> Secret:
        """A reference (`env:NAME`, `secret:NAME`) is looked up; other text is itself. `SettingsError`, `NotFound`."""
        scheme, colon, name = written.partition(":")
        if not colon or scheme not in self._stores:
            return Secret(written)
        if not name:
            raise SettingsError(f"the reference `{scheme}:` names nothing", setting=written)
        return await self._stores[scheme].get(name)

    async def close(self) -> None:
        await self._environment.close()
