"""`turnout secrets`: the project's encrypted file, to which connections refer as `secret:NAME`."""

from __future__ import annotations

import sys

import click

from turnout.cli.options import environment_option, json_option
from turnout.cli.output import emit
from turnout.cli.project import load_project
from turnout.cli.session import platform_of, run_async
from turnout.errors import NotFound, UserError
from turnout.interfaces.secrets import Secret
from turnout.local.platform import Platform

__all__ = ["command"]

_OURS = "settings/"
"""Names that begin so are the platform's own: what instances were deployed with."""


@click.group("secrets")
def command() -> None:
    """Keep secrets in the project's encrypted file."""


@command.command("set")
@click.argument("name")
@environment_option
def set_secret(*, name: str, environment: str | None) -> None:
    """Store a secret, or replace it. A connection refers to it as `secret:NAME`.

    The text is asked for, or read from standard input where that is no terminal, less one line break at its end. It is
    never an argument, since those are seen by other users and kept in the shell's history.
    """
    _check(name)
    secret = Secret(_text())

    async def store() -> None:
        async with platform_of(load_project(environment=environment)) as platform:
            await platform.stores.secrets.set(name, secret)

    run_async(store())
    click.echo(f"stored; a connection's field refers to it as secret:{name}")


@command.command("list")
@json_option
@environment_option
def list_secrets(*, as_json: bool, environment: str | None) -> None:
    """List the names of the secrets, never what they say."""

    async def names() -> list[str]:
        async with platform_of(load_project(environment=environment)) as platform:
            return await _names(platform)

    emit(run_async(names()), as_json=as_json)


@command.command("delete")
@click.argument("name")
@environment_option
def delete_secret(*, name: str, environment: str | None) -> None:
    """Remove a secret. Connections that refer to it cannot be used from then on."""
    _check(name)

    async def delete() -> None:
        async with platform_of(load_project(environment=environment)) as platform:
            if not await platform.stores.secrets.delete(name):
                known = ", ".join(await _names(platform)) or "none"
                raise NotFound("secret", name, hint=f"there are: {known}")

    run_async(delete())
    click.echo(f"deleted {name}")


async def _names(platform: Platform) -> list[str]:
    return [name for name in await platform.stores.secrets.names() if not name.startswith(_OURS)]


def _check(name: str) -> None:
    if not name.strip() or not name.isprintable() or name.startswith(_OURS):
        raise UserError(f"{name!r} is no name for a secret: write letters, digits and dashes, such as erp-token")


def _text() -> str:
    if sys.stdin.isatty():
        text: str = click.prompt("Secret", hide_input=True, confirmation_prompt=True)
        return text
    text = sys.stdin.read()
    if not text.strip():
        raise UserError("nothing came on standard input: type the secret at a terminal, or pipe it")
    return text.removesuffix("\n").removesuffix("\r")
