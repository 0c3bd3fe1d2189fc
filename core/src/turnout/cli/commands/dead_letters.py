"""`turnout queue dead`: executions that were given up after they used up their attempts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from turnout.cli.options import environment_option, json_option
from turnout.cli.output import console, emit, print_table
from turnout.cli.project import load_project
from turnout.cli.session import platform_of, run_async
from turnout.cli.watching import print_record
from turnout.cli.wording import clock_time, cut, one_line, plural, speaks_unicode
from turnout.errors import UserError

if TYPE_CHECKING:
    from turnout.config import Settings
    from turnout.local.dead_letters import DeadLetter, DeadLetters
    from turnout.local.platform import Platform

__all__ = ["dead"]

_ID = 26


@click.group("dead")
def dead() -> None:
    """Look at dead letters, let them go on, or drop them."""


@dead.command("list")
@click.option("--limit", default=50, type=click.IntRange(1, 10_000), show_default=True, help="At most so many.")
@json_option
@environment_option
def list_dead(*, limit: int, as_json: bool, environment: str | None) -> None:
    """List dead letters, the newest first: what was tried how often, how far it got, and why it was given up."""

    async def work() -> Sequence[DeadLetter]:
        async with platform_of(load_project(environment=environment)) as platform:
            return await platform.dead_letters.list(limit=limit)

    found = run_async(work())
    if as_json:
        emit([_data(letter) for letter in found], as_json=True)
    elif not found:
        click.echo("no dead letters")
    else:
        _print(found)


@dead.command("show")
@click.argument("id")
@json_option
@environment_option
def show(*, id: str, as_json: bool, environment: str | None) -> None:
    """Show a dead letter, and the timeline of its execution up to where it died."""
    run_async(_show(load_project(environment=environment), id, as_json=as_json))


@dead.command("retry")
@click.argument("ids", nargs=-1, metavar="[ID...]")
@click.option("--all", "everything", is_flag=True, help="Every dead letter.")
@json_option
@environment_option
def retry(*, ids: Sequence[str], everything: bool, as_json: bool, environment: str | None) -> None:
    """Let executions go on from where they stopped, their attempts starting over."""
    _change(ids, "queued again", lambda letters: letters.retry, everything, as_json, environment)


@dead.command("drop")
@click.argument("ids", nargs=-1, metavar="[ID...]")
@click.option("--all", "everything", is_flag=True, help="Every dead letter.")
@json_option
@environment_option
def drop(*, ids: Sequence[str], everything: bool, as_json: bool, environment: str | None) -> None:
    """Remove dead letters. Their records stay, failed: `turnout executions resume ID` still goes on with one."""
    _change(ids, "dropped", lambda letters: letters.drop, everything, as_json, environment)


def _change(
    ids: Sequence[str],
    outcome: str,
    change: Callable[[DeadLetters], Callable[[DeadLetter], Awaitable[None]]],
    everything: bool,
    as_json: bool,
    environment: str | None,
) -> None:
    if bool(ids) == everything:
        raise UserError("give the ids of dead letters, or --all")

    async def work() -> list[str]:
        async with platform_of(load_project(environment=environment)) as platform:
            letters = platform.dead_letters
            # All are found before one is changed: a wrong id changes nothing.
            chosen = await letters.list() if everything else [await letters.get(id) for id in dict.fromkeys(ids)]
            for letter in chosen:
                await change(letters)(letter)
            return [letter.id for letter in chosen]

    changed = run_async(work())
    if as_json:
        emit([{"execution": id, "outcome": outcome} for id in changed], as_json=True)
    elif not changed:
        click.echo("no dead letters")
    else:
        for id in changed:
            click.echo(f"{one_line(id)}: {outcome}")


async def _show(settings: Settings, id: str, *, as_json: bool) -> None:
    async with platform_of(settings) as platform:
        letter = await platform.dead_letters.get(id)
        if as_json:
            emit(await _data_with_record(letter, platform), as_json=True)
            return
        message = letter.message
        click.echo(f"given up {clock_time(message.died_at)} UTC after {plural(message.attempts, 'attempt')}")
        click.echo(f"  {one_line(message.reason) or 'its workers died while they ran it'}")
        if letter.record is not None:
            print_record(letter.record, now=platform.stores.clock.now())
        click.echo(f"turnout queue dead retry {one_line(id)}")


def _data(letter: DeadLetter) -> dict[str, Any]:
    message, record = letter.message, letter.record
    return {
        "execution": letter.id,
        "customer": message.message.tenant,
        "instance": None if record is None else record.info.instance,
        "flow": None if record is None else record.info.flow,
        "step": letter.step or None,
        "attempts": message.attempts,
        "reason": message.reason,
        "died_at": datetime.fromtimestamp(message.died_at, UTC).isoformat().replace("+00:00", "Z"),
    }


async def _data_with_record(letter: DeadLetter, platform: Platform) -> dict[str, Any]:
    from turnout.services.record_json import record_json

    record = None if letter.record is None else await record_json(letter.record, platform.stores.payloads)
    return {**_data(letter), "record": record}


def _print(found: Sequence[DeadLetter]) -> None:
    out = console()
    headings = ("EXECUTION", "DIED_UTC", "TRIES", "FLOW", "STEP", "REASON")
    if not out.is_terminal:
        print_table(headings, [_cells(letter) for letter in found])
        return
    unicode = speaks_unicode(out)
    for letter in found:
        id, died, tries, flow, step, reason = _cells(letter)
        at = f" at {step}" if step != "-" else ""
        line = f"{id.ljust(_ID)}  {died.replace('T', ' ')}  {flow}{at}, {tries} tries"
        out.print(cut(line, out.width, unicode=unicode), markup=False)
        out.print(cut(f"    {reason}", out.width, unicode=unicode), markup=False, style="dim")


def _cells(letter: DeadLetter) -> tuple[str, ...]:
    message, record = letter.message, letter.record
    return (
        one_line(letter.id),
        clock_time(message.died_at).replace(" ", "T"),
        str(message.attempts),
        "-" if record is None else one_line(f"{record.info.instance}/{record.info.flow}"),
        one_line(letter.step) or "-",
        one_line(message.reason) or "its workers died",
    )
