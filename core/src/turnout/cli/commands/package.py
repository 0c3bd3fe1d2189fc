"""`turnout package`."""

from __future__ import annotations

from pathlib import Path

import click

from turnout.cli.faults import WRONG, printable
from turnout.cli.options import environment_option, json_option
from turnout.cli.output import emit, print_table
from turnout.cli.placement import placement_of
from turnout.cli.project import load_project, load_registry
from turnout.cli.session import run_async
from turnout.definition.nearest import hint_for
from turnout.deploy.packaging import FORMATS, Package, package
from turnout.deploy.placing import deployments
from turnout.errors import UserError
from turnout.interfaces.deployment import ServiceShape
from turnout.local.chosen import chosen_backends, permissions_of

__all__ = ["command"]


@click.command("package")
@click.option("--service", "service", metavar="NAME", help="Only what this service needs.")
@click.option(
    "--out", default="dist", show_default=True, type=click.Path(file_okay=False, path_type=Path), help="Where to."
)
@click.option(
    "--target-format",
    "target_format",
    default="cloudformation",
    show_default=True,
    type=click.Choice(list(FORMATS)),
    help="What the template is written for.",
)
@json_option
@environment_option
def command(*, service: str | None, out: Path, target_format: str, as_json: bool, environment: str | None) -> int:
    """Make what is deployed: for each compute target a template and its artefacts, in DIST/<target>.

    Needs no credentials, and asks no cloud. The same project gives the same bytes.
    """
    settings = load_project(environment=environment)
    placement = run_async(placement_of(settings, recorded=False))
    wrong = [one for one in placement.findings if one.severity == "error"]
    if wrong:
        for finding in wrong:
            click.echo(printable(f"{finding.setting}: {finding.service}: {finding.message}"), err=True)
        return WRONG
    registry = load_registry(settings)
    chosen = permissions_of(chosen_backends(settings, registry))
    made = package(
        deployments(settings, _wanted(placement.services, service), chosen),
        registry.targets,
        out,
        target_format=FORMATS[target_format],
        tell=lambda text: click.echo(printable(text), err=True),
    )
    _show(made, as_json=as_json)
    return 0


def _wanted(services: tuple[ServiceShape, ...], name: str | None) -> tuple[ServiceShape, ...]:
    if name is None:
        return services
    names = [service.name for service in services]
    if name not in names:
        hint = hint_for(name, names)
        raise UserError(f"no service {name!r}: {hint or f'there are {chr(44).join(names)}'}")
    return tuple(service for service in services if service.name == name)


def _show(made: list[Package], *, as_json: bool) -> None:
    if as_json:
        emit(
            [
                {
                    "target": one.target,
                    "directory": str(one.directory),
                    "template": str(one.template),
                    "services": one.services,
                    "resources": {resource.id: resource.type for resource in one.description.resources},
                    "parameters": [parameter.name for parameter in one.description.parameters],
                    "artefacts": {name: str(one.directory / path) for name, path in one.description.artefacts.items()},
                    "images": {name: str(one.directory / image.path) for name, image in one.description.images.items()},
                    "notes": one.description.notes,
                }
                for one in made
            ],
            as_json=True,
        )
        return
    if not made:
        click.echo("nothing to package: every service runs where it is started (`turnout services` shows where)")
        return
    rows = [
        (one.target, ", ".join(one.services), str(len(one.description.resources)), str(one.template)) for one in made
    ]
    print_table(("TARGET", "SERVICES", "RESOURCES", "TEMPLATE"), rows)
    for one in made:
        for note in one.description.notes:
            click.echo(printable(f"{one.target}: {note}"))
