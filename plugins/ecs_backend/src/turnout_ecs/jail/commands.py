"""`turnout jail`: the tree, built when an image or a machine is made, and looked at by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from turnout.config import find_project, load_settings
from turnout.interfaces.opening import Opening

from turnout_ecs.jail import building, tree
from turnout_ecs.jail.options import ChrootOptions
from turnout_ecs.jail.tree import Jail

__all__ = ["COMMANDS"]

F = TypeVar("F", bound=Callable[..., Any])

_NAME = "chroot"


def _options(function: F) -> F:
    """What each of the commands takes."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON, errors on stderr included."),
        click.option(
            "--env", "environment", metavar="NAME", help="Environment of turnout.toml (or the variable TURNOUT_ENV)."
        ),
        click.option(
            "--to",
            "directory",
            type=click.Path(path_type=Path, file_okay=False),
            metavar="DIRECTORY",
            help="Where it is, in place of backends.chroot.jail.",
        ),
    ):
        function = option(function)
    return function


@click.command("build")
@click.option("--again", is_flag=True, help="Build it even if it is whole and up to date.")
@_options
def build(*, again: bool, directory: Path | None, as_json: bool, environment: str | None) -> None:
    """Build the jail of this version of Turnout and Node, as root. What runs in an older one is not disturbed."""
    built = building.build(_directory(directory, environment), again=again)
    done = "built" if built.fresh else "nothing to do"
    _print(built.jail, f"{done}: {built.jail.root}", as_json=as_json, fresh=built.fresh)


@click.command("verify")
@_options
def verify(*, directory: Path | None, as_json: bool, environment: str | None) -> None:
    """Compare every file of the jail with what was built: content, owner, mode, and that nothing was added."""
    jail = tree.verify(_directory(directory, environment))
    _print(jail, f"as it was built: {jail.root}", as_json=as_json)


@click.command("prune")
@_options
def prune(*, directory: Path | None, as_json: bool, environment: str | None) -> None:
    """Remove the jails of other versions of Turnout and Node that no worker and no sandbox uses, as root."""
    removed = list(building.prune(_directory(directory, environment)))
    if as_json:
        click.echo(json.dumps({"removed": removed}, indent=2))
    else:
        click.echo("\n".join(f"removed {name}" for name in removed) or "nothing to remove")


COMMANDS: Mapping[str, click.Command] = {"build": build, "prune": prune, "verify": verify}


def _directory(given: Path | None, environment: str | None) -> Path:
    """Where the jail is, made absolute. A directory that is given needs no project."""
    if given is not None and environment is None:
        return given.absolute()
    root = find_project(Path.cwd())
    settings = load_settings(root, environment=environment)
    opening = Opening(directory=root, name=_NAME, options=settings.backends.get(_NAME, {}))
    return root / (given or opening.read(ChrootOptions).jail)


def _print(jail: Jail, title: str, *, as_json: bool, **more: object) -> None:
    manifest = jail.manifest
    size = sum(entry.size for entry in manifest.files.values())
    if as_json:
        told = {
            "root": str(jail.root),
            **more,
            "languages": list(manifest.languages),
            "node": manifest.node,
            "architecture": manifest.architecture,
            "files": len(manifest.files),
            "bytes": size,
            "data_base_bytes": manifest.data_base_bytes,
            "outdated": list(jail.outdated),
        }
        click.echo(json.dumps(told, indent=2))
        return
    click.echo(title)
    click.echo(f"Node {manifest.node} for {manifest.architecture}, {len(manifest.files)} files, {size / 1e6:.0f} MB")
    for library in jail.outdated:
        click.echo(f"older than this machine's own: {library}: build it again")
