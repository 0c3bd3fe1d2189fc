"""A warmed zygote for each test, and clusters on the backend that a test asks for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.backends import Backend, backend
from tests.chaos.cluster import Cluster, Shape, cluster
from tests.chaos.nursery import nursery

Chaos = Callable[..., AbstractAsyncContextManager[tuple[Cluster, Backend]]]


@pytest.fixture
def chaos(tmp_path: Path) -> Chaos:
    """`async with chaos("redis", Shape(...)) as (running, backend)`."""

    @asynccontextmanager
    async def on(
        name: str, shape: Shape | None = None, *, fsync: str = "everysec"
    ) -> AsyncIterator[tuple[Cluster, Backend]]:
        async with nursery() as zygote, backend(name, tmp_path / "servers", fsync=fsync) as servers:
            wanted = replace(shape or Shape(), stores=servers.stores)
            async with cluster(tmp_path / "cluster", wanted, zygote) as running:
                yield running, servers

    return on
