"""`turnout new`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from turnout.cli.faults import printable
from turnout.cli.scaffolding import Names, scaffold
from turnout.config import find_project

__all__ = ["command"]


@click.group("new")
def command() -> None:
    """Make a project, an integration or a connector."""


_directory_option = click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to make it, instead of the usual place.",
)


@command.command("project")
@click.argument("name")
@_directory_option
def project(*, name: str, directory: Path | None) -> None:
    """Make a project with a first integration, in the directory NAME."""
    target = (directory or Path.cwd()) / name
    made = scaffold("project", Names.of(name), target)
    made += scaffold("integration", Names.of("hello"), target / "integrations" / "hello")
    _tell(made, target, ("make test", "turnout run integrations/hello --payload integrations/hello/payload.json"))


@command.command("integration")
@click.argument("name")
@_directory_option
def integration(*, name: str, directory: Path | None) -> None:
    """Make an integration, in the project's integrations/NAME."""
    target = (directory or find_project(Path.cwd()) / "integrations") / name
    made = scaffold("integration", Names.of(name), target)
    _tell(made, target, ("turnout validate .", "turnout run . --payload payload.json"))


@command.command("connector")
@click.argument("name")
@_directory_option
def connector(*, name: str, directory: Path | None) -> None:
    """Make a connector as a distribution of its own, in the directory turnout-NAME."""
    names = Names.of(name)
    target = (directory or Path.cwd()) / f"turnout-{name}"
    made = scaffold("connector", names, target)
    _tell(made, target, ("pip install -e '.[test]'", "pytest", f"turnout connectors show {names.package}"))


def _tell(made: Sequence[Path], target: Path, commands: Sequence[str]) -> None:
    for file in made:
        click.echo(printable(f"made {_shown(file)}"))
    lines = [f"cd {_shown(target)}", *commands]
    own = Path(sys.executable).parent
    if shutil.which("turnout") is None and (own / "turnout").exists():
        # Called by its path, as in an environment that is not activated: the commands below, and `make`, need it found.
        lines.insert(1, f'export PATH="{own}:$PATH"')
    click.echo(printable("\nNext:\n" + "\n".join(f"  {line}" for line in lines)))


def _shown(path: Path) -> str:
    path = path.resolve()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
