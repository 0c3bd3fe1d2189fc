"""`turnout image`: for containers that are not ECS's. Settings and what makes the context are loaded once it runs."""

from __future__ import annotations

import json
from pathlib import Path

import click

__all__ = ["image"]


@click.command("image")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), metavar="DIRECTORY")
@click.option(
    "--architecture",
    type=click.Choice(["x86_64", "arm64"]),
    default="x86_64",
    show_default=True,
    help="The processors it is for.",
)
@click.option(
    "--base", default="", metavar="IMAGE", help="What it is built on, in place of Docker's own Python on Debian."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, errors on stderr included.")
def image(*, directory: Path, architecture: str, base: str, as_json: bool) -> None:
    """Write what the project's image is built from into DIRECTORY: a Dockerfile, wheels, and the project.

    `docker build DIRECTORY` needs nothing else. `turnout package` does the same for services on ECS.
    """
    from turnout.config import find_project
    from turnout.deploy.contents import digest_of_directory
    from turnout.errors import BackendError, UserError

    from turnout_ecs.image.context import write_context

    if directory.is_dir() and any(directory.iterdir()):
        raise UserError(f"{directory}: it is not empty: name another directory, or empty it")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        write_context(
            find_project(Path.cwd()),
            directory.absolute(),
            architecture=architecture,
            base=base,
            tell=lambda text: click.echo(text, err=True),
        )
        digest = digest_of_directory(directory)
    except OSError as error:
        raise BackendError(f"{directory}: it cannot be written: {error.strerror or error}") from error
    if as_json:
        click.echo(json.dumps({"directory": str(directory), "sha256": digest}, indent=2))
    else:
        click.echo(f"{directory}: sha256 {digest}")
