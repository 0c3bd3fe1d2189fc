"""Sessions of botocore: with a profile, and with a role that is taken on with what was found, anew before its credentials expire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from botocore.config import Config  # type: ignore[import-untyped]
from botocore.credentials import (  # type: ignore[import-untyped]
    CredentialProvider,
    CredentialResolver,
    DeferredRefreshableCredentials,
)
from botocore.session import Session  # type: ignore[import-untyped]

__all__ = ["session_of"]

_CONNECT_S: Final = 3
_READ_S: Final = 5


def session_of(*, profile: str | None, role: str | None, region: str | None) -> Session:
    """Asks nobody yet: a role is taken on when something is first signed."""
    session = Session(profile=profile)
    if role is not None:
        source = Session(profile=profile)
        session.register_component("credential_provider", CredentialResolver([_Role(source, role, region)]))
    return session


class _Role(CredentialProvider):  # type: ignore[misc] # botocore has no types
    METHOD = "turnout-role"

    def __init__(self, source: Session, role: str, region: str | None) -> None:
        super().__init__(source)
        self._source = source
        self._role = role
        self._region = region

    def load(self) -> Any:
        return DeferredRefreshableCredentials(refresh_using=self._taken_on, method=self.METHOD)

    def _taken_on(self) -> Mapping[str, str]:
        config = Config(
            connect_timeout=_CONNECT_S,
            read_timeout=_READ_S,
            retries={"mode": "standard", "total_max_attempts": 1},
            user_agent_extra="turnout",
        )
        client = self._source.create_client("sts", region_name=self._region, config=config)
        try:
            given = client.assume_role(RoleArn=self._role, RoleSessionName="turnout")["Credentials"]
        finally:
            client.close()
        return {
            "access_key": given["AccessKeyId"],
            "secret_key": given["SecretAccessKey"],
            "token": given["SessionToken"],
            "expiry_time": given["Expiration"].isoformat(),
        }
