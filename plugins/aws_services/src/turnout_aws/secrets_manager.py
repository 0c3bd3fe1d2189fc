"""Secrets in AWS Secrets Manager: `aws-secretsmanager:prod/erp`, or a member of one in JSON, `aws-secretsmanager:prod/erp#password`."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Final, Self

from pydantic import Field
from turnout.errors import BackendError, NotFound
from turnout.interfaces.clock import Clock, SystemClock
from turnout.interfaces.opening import Opening
from turnout.interfaces.secrets import Secret, SecretCapability, SecretStore

from turnout_aws.clients import AwsOptions, CallFailed, call, connect_client

__all__ = ["AwsSecrets", "AwsSecretsOptions"]

_KEPT: Final = 10_000
_HINT: Final = "set it with `aws secretsmanager create-secret`, in the region and account of Turnout"


class AwsSecretsOptions(AwsOptions):
    """`[backends.aws-secretsmanager]`."""

    cache: float = Field(
        default=60.0,
        ge=0,
        le=86400,
        strict=False,
        description="Seconds for which a secret is not asked for again; so long a process may use the one before.",
    )


class AwsSecrets(SecretStore):
    """Read-only. What was read is kept in memory for `cache_s`, so that executions neither wait for it nor are throttled."""

    scheme: ClassVar[str] = "aws-secretsmanager"
    capabilities: ClassVar[frozenset[SecretCapability]] = frozenset()

    def __init__(self, client: Any, *, cache_s: float = 60.0, clock: Clock | None = None) -> None:
        self._client = client
        self._cache_s = cache_s
        self._clock = clock or SystemClock()
        self._known: dict[str, tuple[float, str]] = {}

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        options = opening.read(AwsSecretsOptions)
        client = await connect_client("secretsmanager", options, setting=f"backends.{opening.name}")
        return cls(client, cache_s=options.cache, clock=opening.clock)

    async def get(self, name: str) -> Secret:
        secret_id, mark, member = name.partition("#")
        text = await self._text(secret_id, name)
        return Secret(_member(text, member, name) if mark else text)

    async def close(self) -> None:
        self._known.clear()
        self._client.close()

    async def _text(self, secret_id: str, name: str) -> str:
        now = self._clock.now()
        since, text = self._known.get(secret_id, (0.0, None))
        if text is not None and since <= now < since + self._cache_s:
            return text
        text = await self._asked(secret_id, name)
        if len(self._known) >= _KEPT:
            self._known.clear()
        self._known[secret_id] = (now, text)
        return text

    async def _asked(self, secret_id: str, name: str) -> str:
        what = f"Secrets Manager does not give the secret {secret_id!r}"
        try:
            answer = await call(what, self._client.get_secret_value, SecretId=secret_id)
        except CallFailed as error:
            if error.code in ("ResourceNotFoundException", "ValidationException"):
                raise NotFound("secret", name, hint=_HINT) from error
            raise
        if "SecretString" in answer:
            return str(answer["SecretString"])
        try:
            return bytes(answer["SecretBinary"]).decode()
        except UnicodeDecodeError:
            raise BackendError(f"{what}: it is binary, and no text") from None


def _member(text: str, member: str, name: str) -> str:
    """Of a secret that is a JSON object. No message says what is in it."""
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise BackendError(f"the secret {name!r} is no JSON object: refer to it without `#{member}`")
    if member not in content:
        raise NotFound("secret", name, hint=f"it has no member {member!r}: set it there, or name another after `#`")
    value = content[member]
    return value if isinstance(value, str) else json.dumps(value)
