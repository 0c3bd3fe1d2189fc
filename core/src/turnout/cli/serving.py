"""Serving on this machine, as `turnout dev` and `turnout serve` do it, and what they tell meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import click

from turnout.cli.faults import printable
from turnout.interfaces.service import Service
from turnout.local.http import url_of
from turnout.local.platform import Platform
from turnout.local.target import LocalTarget

__all__ = ["serve", "tell"]


async def serve(
    platform: Platform, services: Sequence[Service], *, host: str, port: int, ready: Callable[[str], None]
) -> None:
    """Serve until asked to stop. `ready` is called with the address; senders are told `project.url` where that is set."""
    settings = platform.settings

    def bound(port: int) -> None:
        platform.callbacks.base_url = settings.project.url or url_of(host, port)

    target = LocalTarget(
        request_bytes=settings.limits.request_bytes, clock=platform.stores.clock, stream=platform.stream
    )
    await target.serve(services, host=host, port=port, bound=bound, ready=lambda port: ready(url_of(host, port)))


def tell(event: str, text: str, *, as_json: bool) -> None:
    """A line for people, an error on its own stream; or one of JSON."""
    if as_json:
        click.echo(json.dumps({"event": event, "message": text}))
    else:
        click.echo(printable(text), err=event == "error")
