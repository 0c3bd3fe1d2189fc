"""`turnout openapi`."""

from __future__ import annotations

import json

import click

from turnout.services.api.service import openapi

__all__ = ["command"]


@click.command("openapi")
def command() -> None:
    """Print the OpenAPI document of the HTTP API, as `/api/v1/openapi.json` serves it: for generators of clients."""
    click.echo(json.dumps(openapi(), indent=2))
