"""The backends that the chaos runs on: real servers, each behind a proxy of its own that can misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from turnout_ecs.testing.servers import RedisServer
from turnout_postgres.standins.server import PostgresServer

from tests.chaos.proxy import Proxy, proxied

__all__ = ["BACKENDS", "Backend", "backend"]

BACKENDS: Mapping[str, Mapping[str, str]] = {
    "sqlite": {},
    "redis": {"queue": "redis", "journal": "redis", "state": "redis", "records": "postgres"},
    "redis and sqlite records": {"queue": "redis", "journal": "redis", "state": "redis"},
    "redis queue and postgres journal": {
        "queue": "redis",
        "journal": "postgres",
        "state": "postgres",
        "records": "postgres",
    },
}
"""Which store of a project is which backend's; the others are the embedded ones."""

_TIMEOUT_S = 2.0
"""Shorter than the outages, so that what gives up at it is seen to."""


@dataclass(frozen=True, kw_only=True)
class Backend:
    """`stores` are the tables of `turnout.toml`; a server that the backend does not have is None, and so is its proxy."""

    stores: str
    redis: RedisServer | None = None
    redis_proxy: Proxy | None = None
    postgres: PostgresServer | None = None
    postgres_proxy: Proxy | None = None

    @property
    def proxies(self) -> Mapping[str, Proxy]:
        """By the name of what they stand before."""
        named = {"redis": self.redis_proxy, "postgres": self.postgres_proxy}
        return {name: proxy for name, proxy in named.items() if proxy is not None}


@asynccontextmanager
async def backend(name: str, directory: Path, *, fsync: str = "everysec") -> AsyncIterator[Backend]:
    """Servers that are up. `fsync` is Redis' `appendfsync`."""
    chosen = BACKENDS[name]
    stores = "".join(f'{kind} = "{which}"\n' for kind, which in chosen.items())
    tables = f"[stores]\n{stores}"
    parts: dict[str, object] = {}
    async with AsyncExitStack() as stack:
        if "redis" in chosen.values():
            settings = {"appendonly": "yes", "appendfsync": fsync, "maxmemory-policy": "noeviction"}
            redis = RedisServer(directory / "redis", settings=settings)
            await asyncio.to_thread(redis.start)
            stack.callback(redis.stop)
            proxy = await stack.enter_async_context(proxied("127.0.0.1", redis.port))
            parts |= {"redis": redis, "redis_proxy": proxy}
            tables += f'[backends.redis]\nurl = "redis://127.0.0.1:{proxy.address[1]}"\ntimeout = {_TIMEOUT_S}\n'
        if "postgres" in chosen.values():
            postgres = PostgresServer()
            await asyncio.to_thread(postgres.start)
            stack.callback(postgres.remove)
            proxy = await stack.enter_async_context(proxied("127.0.0.1", postgres.port))
            parts |= {"postgres": postgres, "postgres_proxy": proxy}
            url = postgres.url.replace(f":{postgres.port}/", f":{proxy.address[1]}/")
            tables += f'[backends.postgres]\nurl = "{url}"\nmigrate = true\npool_max = 4\n'
        yield Backend(stores=tables, **parts)  # type: ignore[arg-type]
