"""What tests of OAuth 2.0 share: the provider, and the service's parts with a clock that is moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.oauth.bench import PUBLIC_URL, Bench
from tests.oauth.server import Provider, installed_provider, started_provider


@pytest.fixture(scope="session")
def provider_layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return asyncio.run(installed_provider(tmp_path_factory.mktemp("provider")))


@pytest.fixture
def provider(provider_layer: Path) -> Iterator[Provider]:
    """One whose refresh tokens rotate and may be used once."""
    with started_provider(provider_layer, redirect_uris=[f"{PUBLIC_URL}/oauth/callback"]) as provider:
        yield provider


@pytest.fixture
def lenient(provider_layer: Path) -> Iterator[Provider]:
    """One that takes a used refresh token again for a while."""
    with started_provider(provider_layer, redirect_uris=[f"{PUBLIC_URL}/oauth/callback"], grace_s=600) as provider:
        yield provider


@pytest.fixture
async def bench(provider: Provider) -> AsyncIterator[Bench]:
    bench = Bench(provider)
    yield bench
    await bench.close()
