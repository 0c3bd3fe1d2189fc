"""`turnout secrets`: the project's encrypted file, to which connections refer as `secret:NAME`."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import Any

import click

from turnout.cli.faults import printable
from turnout.cli.options import environment_option, json_option
from turnout.cli.output import emit
from turnout.cli.project import load_project
from turnout.cli.session import platform_of, run_async
from turnout.cli.wording import plural
from turnout.errors import BackendError, NotFound, UserError
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


@command.command("rotate")
@click.option("--data-keys", is_flag=True, help="Give each customer a new data key too, and encrypt everything anew.")
@click.option("--customer", help="Give this customer alone a new data key.")
@json_option
@environment_option
def rotate(*, data_keys: bool, customer: str | None, as_json: bool, environment: str | None) -> None:
    """Replace the key that protects all others, while everything runs.

    A new key goes in front of the key file; the project's secrets and customers' data keys are encrypted with it. Keys in
    TURNOUT_SECRET_KEY are replaced there first; those in a key service by that. What was cut short is finished by the
    next call, which then makes no key.
    """
    from turnout.local.key_rotation import rotate_wrapping_key
    from turnout.services.rotation import Rotation

    async def rotated() -> dict[str, Any]:
        async with platform_of(load_project(environment=environment)) as platform:
            stores, told = platform.stores, _Told()
            done: dict[str, Any] = {}
            if customer is None:
                done = asdict(await rotate_wrapping_key(stores, told))
            if data_keys or customer is not None:
                done["data_keys"] = asdict(await Rotation(stores.catalog, stores.vault).renew(told, tenant=customer))
            return done

    done = run_async(rotated())
    if as_json:
        emit(done, as_json=True)
    else:
        for line in _wording(done):
            click.echo(printable(line))
    if unreadable := done.get("data_keys", {}).get("unreadable"):
        names = "\n".join(f"  {name}" for name in unreadable)
        raise BackendError(f"these hold values that do not decrypt, and stay as they are: enter them again\n{names}")


class _Told:
    """How far it is, on standard error, once a second."""

    def __init__(self) -> None:
        self._at = time.monotonic()

    def __call__(self, tenant: str, done: int) -> None:
        if time.monotonic() - self._at >= 1.0:
            self._at = time.monotonic()
            click.echo(f"{plural(done, 'customer')} done", err=True)


def _wording(done: dict[str, Any]) -> list[str]:
    lines = []
    if "new_key" in done:
        first = (
            "a new key protects the project's secrets"
            if done["new_key"]
            else "the newest key protects the project's secrets"
        )
        if done["resumed"]:
            first = "finished what was not yet encrypted with the newest key"
        lines.append(f"{first}; data keys of {plural(done['customers'], 'customer')} wrapped anew")
    if renewed := done.get("data_keys"):
        again = "finished: " if renewed["resumed"] else ""
        what = f"{plural(renewed['customers'], 'new data key')}, {plural(renewed['values'], 'value')} encrypted anew"
        lines.append(f"{again}{what}")
    return lines


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
