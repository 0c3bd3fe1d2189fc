"""`turnout deploy`, `turnout status`, `turnout destroy`. boto3 and settings are loaded once one of them runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from turnout_aws.deploying.deployer import Deployer, Plan
    from turnout_aws.deploying.moving import Move
    from turnout_aws.deploying.packages import PackageFiles
    from turnout_aws.deploying.stacks import Stack

__all__ = ["deploy", "destroy", "status"]

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_ATTEMPTS: Final = 8


@dataclass(kw_only=True)
class _Cloud:
    """What the options of each command say, and what the commands share. `environment` is the settings' once it is made."""

    environment: str | None
    region: str | None
    profile: str | None
    project: str = ""
    settings: Any = None
    under_way: str = ""

    def __post_init__(self) -> None:
        from turnout.config import find_project, load_settings

        settings = load_settings(find_project(Path.cwd()), environment=self.environment)
        self.settings, self.project, self.environment = settings, settings.name, settings.environment

    def client(self, service: str) -> Any:
        from turnout.errors import SettingsError

        from turnout_aws.clients import AwsOptions, make_client

        try:
            options = AwsOptions(region=self.region, profile=self.profile)
        except ValueError:
            raise SettingsError("--region: a region is expected, eu-central-1", setting="--region") from None
        return make_client(service, options, setting="deploy", attempts=_ATTEMPTS)

    def deployer(
        self, bucket: str | None = None, prefix: str = "", parameters: tuple[tuple[str, str], ...] = ()
    ) -> Deployer:
        from turnout.interfaces.clock import SystemClock

        from turnout_aws.deploying.artefacts import Bucket
        from turnout_aws.deploying.building import find_builder
        from turnout_aws.deploying.deployer import Deployer
        from turnout_aws.deploying.images import Repository
        from turnout_aws.deploying.stacks import Stacks

        clock = SystemClock()
        storage = self.client("s3")

        def under_way(name: str) -> None:
            self.under_way = name

        return Deployer(
            stacks=Stacks(self.client("cloudformation"), clock),
            clock=clock,
            bucket=lambda name: Bucket(storage, name, prefix, _tell),
            repository=lambda arn: Repository(self.client("ecr"), arn, lambda: find_builder(_tell), _tell),
            bucket_name=bucket,
            parameters=dict(parameters),
            tell=_tell,
            under_way=under_way,
        )

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What it returns. Ctrl-C says what goes on without us."""
        import asyncio  # `turnout --help` loads this module, and nothing heavy

        try:
            return asyncio.run(work)
        except KeyboardInterrupt:
            if self.under_way:
                _tell(
                    f"{self.under_way}: CloudFormation goes on without you: `turnout status` shows how far it is, "
                    "and the same command again waits for it"
                )
            raise

    async def stacks(self, deployer: Deployer, target: str | None) -> list[Stack]:
        """Those of this project and environment, by name."""
        from turnout_aws.deploying.deployer import is_of

        found = [one async for one in deployer.stacks.all() if is_of(one, self.project, self.environment or "")]
        wanted = [one for one in found if target is None or one.tags.get("turnout:target") == target]
        return sorted(wanted, key=lambda one: one.name)

    def placed(self, service: str) -> str:
        """The target that settings place it on."""
        target: str = self.settings.service(service).target
        return target


def _options(function: F) -> F:
    """What each of the commands takes."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON, errors on stderr included."),
        click.option("--profile", metavar="NAME", help="A profile of AWS's own files."),
        click.option("--region", metavar="REGION", help="The region; without it as boto3 finds it."),
        click.option("--target", metavar="NAME", help="Only this target's stack."),
        click.option(
            "--env", "environment", metavar="NAME", help="Environment of turnout.toml (or the variable TURNOUT_ENV)."
        ),
    ):
        function = option(function)
    return function


_from = click.option(
    "--from",
    "directory",
    default="dist",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="What `turnout package` wrote.",
)


def _pairs(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    for one in given:
        if "=" not in one[1:]:
            raise click.BadParameter(f"NAME=VALUE is expected, not {one!r}")
    return tuple((one.partition("=")[0], one.partition("=")[2]) for one in given)


@click.command("deploy")
@_from
@click.option("--dry-run", is_flag=True, help="Print what would change, and change nothing.")
@click.option(
    "--bucket", metavar="NAME", help="The S3 bucket that code is uploaded to; else the one of the time before."
)
@click.option("--prefix", default="turnout", show_default=True, help="What keys in the bucket begin with.")
@click.option(
    "--parameter",
    "parameters",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_pairs,
    help="A parameter of the template, several times; what is not given stays as it was.",
)
@click.option(
    "--started",
    metavar="SERVICE",
    multiple=True,
    help="A service that moves to `local` and runs there now, several times: its old place is let go.",
)
@_options
def deploy(
    *,
    directory: Path,
    dry_run: bool,
    bucket: str | None,
    prefix: str,
    parameters: tuple[tuple[str, str], ...],
    started: tuple[str, ...],
    target: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Bring the cloud to what `turnout package` made: a stack of CloudFormation for each target.

    It packages nothing itself. The same again changes nothing, and an interrupted one is taken up again. A service that moves
    is up at its new place before the old one loses it.
    """
    from turnout.errors import UserError

    from turnout_aws.deploying.rollout import Rollout

    cloud = _Cloud(**options)
    packages = _packages(cloud, directory, None)
    declared = {
        name
        for package in packages
        if target in {None, package.target}
        for name in package.template.get("Parameters", {})
    }
    if unknown := sorted({name for name, _ in parameters} - declared):
        raise UserError(f"no parameter {', '.join(map(repr, unknown))}: there are {', '.join(sorted(declared))}")
    deployer = cloud.deployer(bucket, prefix, parameters)

    async def run() -> None:
        stacks = await cloud.stacks(deployer, None)
        rollout = await Rollout.plan(
            deployer, packages, stacks, cloud.placed, started=frozenset(started), target=target
        )
        if not rollout.steps and not rollout.held:
            raise UserError(f"{directory}: there is no package to deploy: run `turnout package` first")
        _show_moves(rollout.moves, as_json=as_json)
        plans = await rollout.run(dry_run=dry_run)
        if as_json:
            click.echo(json.dumps([asdict(plan) for plan in plans], indent=2))
        else:
            for plan in plans:
                _show(plan, dry_run=dry_run)
        for text in rollout.advice():
            _tell(text)

    cloud.run(run())


@click.command("status")
@_from
@_options
def status(*, directory: Path, target: str | None, as_json: bool, **options: Any) -> None:
    """List the stacks of an environment: how they are, whether the local package is what is deployed, their addresses."""
    from turnout_aws.deploying.deployer import digest_of

    cloud = _Cloud(**options)
    packages = {package.target: package.digest for package in _packages(cloud, directory, target, strict=False)}
    deployer = cloud.deployer()

    async def rows() -> list[dict[str, Any]]:
        found = []
        for stack in await cloud.stacks(deployer, target):
            deployed = "" if stack.in_review else digest_of(await deployer.stacks.template(stack))
            local = packages.get(stack.tags.get("turnout:target", ""), "")
            found.append(
                {
                    "stack": stack.name,
                    "target": stack.tags.get("turnout:target", ""),
                    "status": stack.status,
                    "changed_at": stack.changed_at.isoformat() if stack.changed_at else "",
                    "digest": deployed,
                    "local": "none" if not local else "same" if local == deployed else "differs",
                    "outputs": dict(stack.outputs),
                }
            )
        return found

    told = cloud.run(rows())
    if as_json:
        click.echo(json.dumps(told, indent=2))
    elif not told:
        click.echo("nothing is deployed: `turnout package`, then `turnout deploy`")
    else:
        cells = [(row["stack"], row["status"], row["changed_at"], row["digest"][:12], row["local"]) for row in told]
        _table(("STACK", "STATUS", "CHANGED", "PACKAGE", "LOCAL"), cells)
        for row in told:
            for name, value in row["outputs"].items():
                click.echo(_printable(f"{row['stack']}: {name} {value}"))


@click.command("destroy")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_options
def destroy(*, yes: bool, target: str | None, as_json: bool, **options: Any) -> None:
    """Delete the stacks of an environment, and show before what goes with them and what stays."""
    cloud = _Cloud(**options)
    deployer = cloud.deployer()
    stacks = cloud.run(_contents(cloud, deployer, target))
    if not as_json:
        _table(
            ("", "STACK", "RESOURCE", "TYPE", "NAME"),
            [
                ("stays" if one["stays"] else "goes", stack.name, one["resource"], one["type"], one["id"])
                for stack, resources in stacks
                for one in resources
            ],
        )
    if stacks and not yes:
        names = ", ".join(stack.name for stack, _ in stacks)
        click.confirm(f"Delete {names}?", abort=True, err=as_json)

    async def delete() -> None:
        for stack, _ in stacks:
            now = await deployer.stacks.at_rest(stack, _tell)
            if now is not None:
                await deployer.delete(now)

    cloud.run(delete())
    if as_json:
        click.echo(json.dumps([{"stack": stack.name, "resources": told} for stack, told in stacks], indent=2))
    elif not stacks:
        click.echo("nothing is deployed")


async def _contents(cloud: _Cloud, deployer: Deployer, target: str | None) -> list[tuple[Stack, list[dict[str, Any]]]]:
    """What each stack has. `UserError` where one is protected."""
    from turnout.errors import UserError

    from turnout_aws.deploying.plan import kept

    found = []
    for stack in await cloud.stacks(deployer, target):
        if stack.protected:
            raise UserError(f"{stack.name}: it is protected from being deleted (its termination protection is on)")
        told = {} if stack.in_review else (await deployer.stacks.template(stack)).get("Resources", {})
        resources = [
            {"resource": name, "type": kind, "id": physical, "stays": kept(told.get(name, {}))}
            for name, kind, physical in await deployer.stacks.resources(stack)
        ]
        found.append((stack, resources))
    return found


def _packages(cloud: _Cloud, directory: Path, target: str | None, *, strict: bool = True) -> list[PackageFiles]:
    """`strict`: a package of another environment is an error, and not merely none."""
    from turnout.errors import UserError

    from turnout_aws.deploying.packages import read_packages

    try:
        found = read_packages(directory, project=cloud.project, environment=cloud.environment or "")
    except UserError:
        if strict:
            raise
        return []
    return [package for package in found if target is None or package.target == target]


def _show_moves(moves: Sequence[Move], *, as_json: bool) -> None:
    """Before anything is changed. JSON has them with the plans."""
    if not as_json:
        _table(
            ("SERVICE", "FROM", "TO", "RISK"),
            [(one.service, one.origin, one.to, "; ".join(one.risks)) for one in moves],
        )


def _show(plan: Plan, *, dry_run: bool) -> None:
    if plan.anew:
        click.echo(_printable(f"{plan.stack}: a creation that failed {'would be' if dry_run else 'was'} deleted first"))
    if not plan.changes:
        click.echo(_printable(f"{plan.stack}: no resource changes"))
        return
    _table(
        ("ACTION", "RESOURCE", "TYPE", "RISK"),
        [(one.action, one.resource, one.type, "; ".join(one.risks)) for one in plan.changes],
    )
    if not dry_run:
        click.echo(_printable(f"{plan.stack}: deployed"))


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    lines = [[_printable(cell) for cell in row] for row in rows]
    if not lines:
        return
    widths = [max(map(len, column)) for column in zip(headings, *lines, strict=True)]
    for line in (headings, *lines):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _tell(text: str) -> None:
    click.echo(_printable(text), err=True)
    sys.stderr.flush()


def _printable(text: str) -> str:
    """What AWS hands on may be anybody's text: control characters are escaped."""
    return "".join(one if one.isprintable() or one == "\n" else one.encode("unicode_escape").decode() for one in text)
