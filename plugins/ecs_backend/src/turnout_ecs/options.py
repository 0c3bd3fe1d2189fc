"""The table `[backends.redis]` of `turnout.toml`, and the address that it comes to."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field
from turnout.errors import SettingsError
from turnout.interfaces.secrets import Secret

__all__ = ["Address", "RedisOptions"]

Resolve = Callable[[str], Awaitable[Secret]]


class RedisOptions(BaseModel):
    """As written. `url`, `username` and `password` may be references (`env:REDIS_URL`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    username: str = ""
    password: str = ""
    prefix: str = Field(default="turnout", pattern=r"^[A-Za-z0-9._-]{1,64}$")
    shards: int = Field(default=1, ge=1, le=256)
    cluster: bool | None = None
    timeout: float = Field(default=5.0, ge=0.1, le=60.0)
    tls_ca_file: Path | None = None
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the server is and who we are there. Printing it shows no credentials."""

    host: str
    port: int = 6379
    username: str = ""
    password: Secret = field(default=Secret(""))
    tls: ssl.SSLContext | None = None
    cluster: bool | None = None
    timeout_s: float = 5.0

    @classmethod
    async def of(cls, options: RedisOptions, resolve: Resolve, *, name: str = "redis") -> Self:
        """The address that the options of the backend `name` mean; `SettingsError` names the setting that is wrong."""
        url = (await resolve(options.url)).reveal()
        user, password = await resolve(options.username), await resolve(options.password)
        return cls.parse(url, name=name)._with(options, user.reveal(), password, name)

    @classmethod
    def parse(cls, url: str, *, name: str = "redis") -> Self:
        """Read `redis://[user[:password]@]host[:port]` or `rediss://…` (TLS). The error never shows the URL."""
        setting = f"backends.{name}.url"
        try:
            parts = urlsplit(url)
            port = parts.port or 6379
        except ValueError:
            raise SettingsError(f"{setting}: this is no URL: redis://host:6379 is one", setting=setting) from None
        if parts.scheme not in {"redis", "rediss"} or not parts.hostname:
            raise SettingsError(
                f"{setting}: it must begin with redis://host or rediss://host (TLS), as redis://127.0.0.1:6379 does",
                setting=setting,
            )
        if parts.path.strip("/") not in {"", "0"} or parts.query:
            message = f"{setting}: a database number or parameters cannot be used (a cluster has neither); projects that share a server differ in backends.{name}.prefix"
            raise SettingsError(message, setting=setting)
        return cls(
            host=parts.hostname,
            port=port,
            username=unquote(parts.username or ""),
            password=Secret(unquote(parts.password or "")),
            tls=ssl.create_default_context() if parts.scheme == "rediss" else None,
        )

    def at(self, host: str, port: int) -> Self:
        """Another server of the same cluster."""
        return type(self)(
            host=host,
            port=port,
            username=self.username,
            password=self.password,
            tls=self.tls,
            cluster=self.cluster,
            timeout_s=self.timeout_s,
        )

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def _with(self, options: RedisOptions, username: str, password: Secret, name: str) -> Self:
        if self.tls is not None:
            _configure(self.tls, options, name)
        elif options.tls_ca_file or options.tls_cert_file or options.tls_key_file:
            setting = f"backends.{name}.url"
            raise SettingsError(
                f"{setting}: TLS files are set, but the URL begins with redis://, not rediss://", setting=setting
            )
        return type(self)(
            host=self.host,
            port=self.port,
            username=username or self.username,
            password=password or self.password,
            tls=self.tls,
            cluster=options.cluster,
            timeout_s=options.timeout,
        )


def _configure(context: ssl.SSLContext, options: RedisOptions, name: str) -> None:
    setting = f"backends.{name}.tls_ca_file"
    try:
        if options.tls_ca_file is not None:
            context.load_verify_locations(cafile=options.tls_ca_file)
        if options.tls_cert_file is not None:
            setting = f"backends.{name}.tls_cert_file"
            key_setting = setting if options.tls_key_file is None else f"backends.{name}.tls_key_file"
            context.load_cert_chain(
                options.tls_cert_file, options.tls_key_file, password=partial(_refuse_encrypted, key_setting)
            )
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"{setting}: the file cannot be used: {error}", setting=setting) from error


def _refuse_encrypted(setting: str) -> str:
    """Called for the password of an encrypted key, which OpenSSL would ask for on the terminal, holding up the start."""
    raise SettingsError(
        f"{setting}: the key is encrypted, and nobody is there to type its password: decrypt it with "
        f"`openssl pkey -in KEY -out DECRYPTED`, and keep that file readable to this user alone",
        setting=setting,
    )
