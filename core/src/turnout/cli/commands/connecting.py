"""`turnout connections connect`: the link by which somebody of a customer connects an account."""

from __future__ import annotations

import click

from turnout.cli.options import environment_option, json_option
from turnout.cli.output import emit
from turnout.cli.project import load_project
from turnout.cli.session import platform_of, run_async
from turnout.model.duration import parse_duration

__all__ = ["connect"]


def _valid(_: click.Context, __: click.Parameter, value: str) -> float:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command("connect")
@click.argument("customer")
@click.argument("name")
@click.option(
    "--return-to", default="", metavar="URL", help="A page of yours to go back to; `[oauth] return_urls` allows it."
)
@click.option(
    "--expires",
    "valid_s",
    callback=_valid,
    default="7d",
    show_default=True,
    metavar="TIME",
    help="How long it may be used.",
)
@click.option("--open", "opens", is_flag=True, help="Open it in this machine's browser too.")
@json_option
@environment_option
def connect(
    *, customer: str, name: str, return_to: str, valid_s: float, opens: bool, as_json: bool, environment: str | None
) -> None:
    """Print the link by which somebody of a customer connects the account of an OAuth 2.0 connection.

    Whoever opens it signs in at the provider and comes back. It can be used once.
    """
    settings = load_project(environment=environment)

    async def work() -> str:
        async with platform_of(settings) as platform:
            return await platform.oauth.invite(customer, name, return_to=return_to, valid_s=valid_s)

    link = run_async(work())
    if as_json:
        emit({"customer": customer, "connection": name, "link": link, "valid_s": valid_s}, as_json=True)
    else:
        click.echo(link)
    if not settings.project.url:
        click.echo("it is for this machine alone: `[project] url` in turnout.toml says where others reach it", err=True)
    if opens:
        click.launch(link)
