"""`turnout validate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click

from turnout.cli.faults import WRONG, printable
from turnout.cli.options import environment_option, json_option
from turnout.cli.output import emit
from turnout.cli.project import load_project, load_registry
from turnout.definition import find_integrations, load_integration, validate
from turnout.errors import DefinitionError, Problem
from turnout.interfaces.connector import Connector
from turnout.model.definition import Integration

__all__ = ["command"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """One definition file, what it defines unless it cannot be read, and every problem in it."""

    file: Path
    integration: Integration | None
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> int:
        return sum(problem.severity == "error" for problem in self.problems)


@click.command("validate")
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="Take warnings for errors.")
@json_option
@environment_option
def command(*, paths: Sequence[Path], strict: bool, as_json: bool, environment: str | None) -> int:
    """Check definitions without running anything.

    PATH is a definition file or a directory with one, or a project; without it, the project around the working
    directory. Problems go to stderr, one a line: file, line, column, what is wrong, the nearest right name. The exit
    status is 2 if there are any that are not warnings.
    """
    settings = load_project(paths[0] if paths else None, environment=environment)
    files = {file: None for path in paths or [settings.root] for file in find_integrations(path)}
    registry = load_registry(settings)
    checked = _distinct([_check(file, registry.connectors) for file in files])
    valid = not any(item.problems if strict else item.errors for item in checked)
    if as_json:
        emit({"valid": valid, "integrations": [_as_data(item) for item in checked]}, as_json=True)
        return 0 if valid else WRONG
    for item in checked:
        _print(item)
    if not valid:
        for failure in registry.failures:
            click.echo(printable(f"note: {failure}"), err=True)
    return 0 if valid else WRONG


def _check(file: Path, connectors: Mapping[str, Connector]) -> _Checked:
    try:
        integration = load_integration(file)
    except DefinitionError as error:
        return _Checked(file=file, integration=None, problems=error.problems)
    return _Checked(file=file, integration=integration, problems=tuple(validate(integration, connectors)))


def _distinct(checked: Sequence[_Checked]) -> list[_Checked]:
    """The same, with an error where a second file defines an integration of the same name."""
    first: dict[str, Path] = {}
    result = []
    for item in checked:
        name = item.integration.name if item.integration else ""
        if name and first.setdefault(name, item.file) != item.file:
            message = f"integration {name!r} is defined in {first[name]} already"
            clash = Problem(message=message, file=str(item.file), line=1, column=1, hint="give it another name")
            item = replace(item, problems=(clash, *item.problems))  # noqa: PLW2901 - the same item, told more
        result.append(item)
    return result


def _print(item: _Checked) -> None:
    for problem in item.problems:
        shown = problem if problem.severity == "error" else replace(problem, message=f"warning: {problem.message}")
        click.echo(printable(str(shown)), err=True)
    if item.integration and not item.errors:
        flows = ", ".join(item.integration.flows)
        click.echo(printable(f"{item.file}: {item.integration.name} {item.integration.version} is valid ({flows})"))


def _as_data(item: _Checked) -> dict[str, Any]:
    integration = item.integration
    return {
        "file": str(item.file),
        "integration": integration.name if integration else None,
        "version": integration.version if integration else None,
        "flows": list(integration.flows) if integration else [],
        "problems": [asdict(problem) for problem in item.problems],
    }
