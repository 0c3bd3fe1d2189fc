"""`turnout schema`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from turnout.definition import json_schema

__all__ = ["command"]


@click.command("schema")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it to this file, not to the terminal."
)
def command(*, out: Path | None) -> None:
    """Print the JSON Schema of integration.yaml, for editors.

    An editor with a YAML language server completes and checks a definition that begins with
    `# yaml-language-server: $schema=turnout.schema.json`.
    """
    text = json.dumps(json_schema(), indent=2) + "\n"
    if out is None:
        click.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.BadParameter(f"{out} cannot be written: {error.strerror}", param_hint="--out") from error
