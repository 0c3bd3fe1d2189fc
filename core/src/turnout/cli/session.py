"""A command's platform: opened for the project, closed whatever happens, on the fast event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from turnout.cli.project import load_registry
from turnout.config import Settings
from turnout.local.platform import Platform
from turnout.model.events import Event

__all__ = ["platform_of", "run_async"]

T = TypeVar("T")


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run on uvloop where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


@asynccontextmanager
async def platform_of(
    settings: Settings,
    *,
    observers: tuple[Callable[[str, Event], None], ...] = (),
    public_url: str = "http://127.0.0.1:8400",
) -> AsyncIterator[Platform]:
    platform = await Platform.open(
        settings, load_registry(settings), observers=observers, public_url=settings.project.url or public_url
    )
    try:
        yield platform
    finally:
        await platform.close()
