"""The `turnout` program: a table of commands that are imported when they run, and the plugins' commands beside them."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import click

from turnout.cli.faults import Reporter

if TYPE_CHECKING:
    from turnout.plugins import Registry

__all__ = ["COMMANDS", "PROGRAM", "RESERVED", "Program", "main"]

PROGRAM = "turnout"


class _Entry(NamedTuple):
    """A command of ours: the module under `turnout.cli.commands` whose `command` it is, and its line in the help."""

    module: str
    help: str


COMMANDS: Mapping[str, _Entry] = {
    "advise": _Entry(
        "advise",
        "Compare what executions would cost and how long they would take on Lambda, on ECS and here, and recommend one.",
    ),
    "alerts": _Entry("alerts", "Show what goes on and what was, end it by hand, try a channel."),
    "check": _Entry(
        "check", "Check that every service and every flow fits the compute target that the settings choose for it."
    ),
    "api-keys": _Entry("api_keys", "Make, list and revoke keys of the HTTP API."),
    "completion": _Entry("completion", "Print the script that makes a shell complete commands."),
    "config": _Entry("config", "Show what the project's settings come to."),
    "connections": _Entry("connections", "Keep customers' connections, and connect their accounts."),
    "connectors": _Entry(
        "connectors", "List, search and show connectors, call an action, add one that is made from a description."
    ),
    "customers": _Entry("customers", "Make, show, suspend and delete customers."),
    "dev": _Entry(
        "dev",
        "Serve the project on this machine: webhooks, the runner, records; definitions are reloaded as they change.",
    ),
    "executions": _Entry("executions", "List, show, watch, cancel, resume and replay executions."),
    "instances": _Entry("instances", "Deploy integrations to customers, upgrade, pause and delete them."),
    "integrations": _Entry("integrations", "Publish versions of integrations, and look at them."),
    "logs": _Entry("logs", "Print what flows log, of all executions, the newest lines last."),
    "new": _Entry("new", "Make a project, an integration or a connector."),
    "openapi": _Entry(
        "openapi",
        "Print the OpenAPI document of the HTTP API, as `/api/v1/openapi.json` serves it: for generators of clients.",
    ),
    "package": _Entry(
        "package", "Make what is deployed: for each compute target a template and its artefacts, in DIST/<target>."
    ),
    "plugins": _Entry("plugins", "List what is installed and what it provides."),
    "queue": _Entry("queue", "Show how the queue stands, wait until it is empty, retry dead letters."),
    "resume": _Entry("resume", "Go on with everything that a process left behind when it died or was interrupted."),
    "run": _Entry("run", "Run a flow here and now, and print its record."),
    "schedules": _Entry("schedules", "Show when flows are started by the clock, and when they were."),
    "schema": _Entry("schema", "Print the JSON Schema of integration.yaml, for editors."),
    "secrets": _Entry("secrets", "Keep secrets in the project's encrypted file."),
    "serve": _Entry("serve", "Serve everything but the runner on this machine; workers run the executions."),
    "service": _Entry("service", "Run one service alone."),
    "services": _Entry(
        "services", "List the project's services: where each runs, what calls it, and whether it fits there."
    ),
    "validate": _Entry("validate", "Check definitions without running anything."),
    "worker": _Entry("worker", "Take executions from the queue and run them, until SIGTERM; then drain."),
    "version": _Entry("version", "Print versions, for a report of a fault."),
}
"""The help lines stand here a second time, so that `turnout --help` imports no command; a test compares them."""

RESERVED = frozenset({*COMMANDS, "demo", "dev", "executions", "resume", "run"})
"""Names that a plugin's command cannot take."""


class Program(click.Group):
    """The group of all commands. Plugins are loaded only for help, completion, and names that are not ours."""

    def __init__(self) -> None:
        super().__init__(
            PROGRAM,
            help="Write integrations once, run each service where configuration says.",
            params=[
                click.Option(["--debug"], is_flag=True, help="Show the traceback of any error (or TURNOUT_DEBUG=1)."),
                click.Option(
                    ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print it."
                ),
            ],
            # The option's value is read from the arguments by `main`, which has to know it before parsing fails.
            callback=lambda debug: None,
            context_settings={"help_option_names": ["-h", "--help"]},
        )
        self._registry: Registry | None = None

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*COMMANDS, *self._plugins().commands])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if entry := COMMANDS.get(cmd_name):
            command = importlib.import_module(f"turnout.cli.commands.{entry.module}").command
            assert isinstance(command, click.Command)
            return command
        return self._plugins().commands.get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click has it, naming the nearest right command."""
        name = args[0]
        if name not in COMMANDS and name not in self._plugins().commands and not name.startswith("-"):
            near = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            advice = f"did you mean {near[0]!r}?" if near else "see `turnout --help`"
            raise click.UsageError(f"no command {name!r}: {advice}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in sorted(COMMANDS.items())])
        others = self._plugins().commands
        if others:
            with formatter.section("Commands of plugins"):
                formatter.write_dl([(name, command.get_short_help_str(80)) for name, command in sorted(others.items())])

    def _plugins(self) -> Registry:
        if self._registry is None:
            from turnout.cli.project import blocked_plugins
            from turnout.plugins import load_plugins

            self._registry = load_plugins(blocked=blocked_plugins(), reserved_commands=RESERVED)
        return self._registry


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status. Never raises, whatever the command does, and leaves output to the command.

    0 success, 1 an execution failed, 2 definitions, settings or arguments are wrong, 3 a backend or a plugin failed,
    70 a fault of Turnout's own, 130 interrupted, 141 the reader of our output has gone.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    report = Reporter.of(given)
    # What cannot be written in the terminal's encoding is escaped: an odd file name must not end a command.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = _run(given)
        sys.stdout.flush()
    except BaseException as error:
        return report.status_of(error)
    return status


def _run(arguments: list[str]) -> int:
    program = Program()
    if f"_{PROGRAM.upper()}_COMPLETE" in os.environ:
        program.main(arguments, prog_name=PROGRAM)
    with program.make_context(PROGRAM, arguments) as context:
        status = program.invoke(context)
    return status if isinstance(status, int) else 0


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        click.echo(f"{PROGRAM} {version('turnout')}")
        ctx.exit()
