"""Secrets from environment variables: `env:ERP_TOKEN`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import ClassVar

from turnout.errors import NotFound
from turnout.interfaces.secrets import Secret, SecretCapability, SecretStore

__all__ = ["EnvironmentSecrets"]


class EnvironmentSecrets(SecretStore):
    """Read-only. A variable that is set but empty is a secret; one that is not set is `NotFound`."""

    scheme: ClassVar[str] = "env"
    capabilities: ClassVar[frozenset[SecretCapability]] = frozenset()

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = os.environ if environment is None else environment

    async def get(self, name: str) -> Secret:
        value = self._environment.get(name)
        if value is None:
            raise NotFound("environment variable", name, hint="set it where Turnout is started")
        return Secret(value)

    async def close(self) -> None:
        """Nothing is held open."""
