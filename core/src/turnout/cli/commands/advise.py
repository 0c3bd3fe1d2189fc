"""`turnout advise`."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from turnout.cli.faults import printable
from turnout.cli.options import environment_option, json_option
from turnout.cli.output import emit, print_table
from turnout.cli.project import load_project, load_registry
from turnout.cli.session import run_async
from turnout.config import Settings
from turnout.deploy.advice.comparing import Advice, ServiceAdvice, advise, advise_service
from turnout.deploy.advice.costs import LambdaShape, TaskShape
from turnout.deploy.advice.prices import read_prices
from turnout.deploy.advice.workload import Workload, recorded_workload
from turnout.interfaces.deployment import ServiceShape
from turnout.local.services import service_shapes
from turnout.local.stores import Stores

__all__ = ["command"]


class _Finite(click.FloatRange):
    """A range to which `nan` and `inf`, which Python reads as numbers, do not belong."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a number that can be reckoned with.", param, ctx)
        return number


_POSITIVE = _Finite(min=0, min_open=True)


@click.command("advise")
@click.option("--executions-per-month", type=_Finite(min=1), help="So many, instead of as many as were recorded.")
@click.option("--seconds", type=_POSITIVE, help="What each takes, waits aside, instead of what was recorded.")
@click.option("--steps", type=click.IntRange(1, 1000), help="Steps of each, instead of what was recorded.")
@click.option(
    "--within", "within_s", type=_POSITIVE, metavar="SECONDS", help="The p99 from arrival to end that is asked for."
)
@click.option(
    "--cold-start", "cold_s", default=1.5, show_default=True, type=_POSITIVE, help="Seconds of a cold start on Lambda."
)
@click.option("--cold-share", default=0.01, show_default=True, type=_Finite(0, 1), help="Share of calls that are cold.")
@click.option("--hop", "hop_s", default=0.1, show_default=True, type=_POSITIVE, help="Seconds of a hop over SQS.")
@click.option(
    "--concurrency",
    default=8,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="Executions at once on an ECS task.",
)
@click.option("--arm", is_flag=True, help="Price ARM processors instead of x86.")
@click.option(
    "--prices", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A price table of your own."
)
@click.option("--seed", default=1, show_default=True, help="Of the simulation: the same gives the same.")
@json_option
@environment_option
def command(
    *,
    executions_per_month: float | None,
    seconds: float | None,
    steps: int | None,
    within_s: float | None,
    cold_s: float,
    cold_share: float,
    hop_s: float,
    concurrency: int,
    arm: bool,
    prices: Path | None,
    seed: int,
    as_json: bool,
    environment: str | None,
) -> None:
    """Compare what executions would cost and how long they would take on Lambda, on ECS and here, and recommend one.

    From recorded executions, or from what the options say. Asks no cloud; the simulation needs `turnout[advise]`.
    """
    settings = load_project(environment=environment)
    table = read_prices(prices)
    workload, shapes = run_async(_project(settings, executions_per_month, seconds, steps))
    advice = advise(
        workload,
        table,
        function=LambdaShape(arm=arm, cold_s=cold_s, cold_share=cold_share, hop_s=hop_s),
        task=TaskShape(arm=arm, concurrency=concurrency),
        within_s=within_s,
        seed=seed,
    )
    services = [advise_service(shape, workload, table.prices) for shape in shapes if shape.name != "runner"]
    if as_json:
        emit({"runner": advice, "services": services, "prices": table}, as_json=True)
        return
    _print(advice, services)


async def _project(
    settings: Settings, executions_per_month: float | None, seconds: float | None, steps: int | None
) -> tuple[Workload, tuple[ServiceShape, ...]]:
    registry = load_registry(settings)
    shapes = await service_shapes(settings, registry)
    if executions_per_month is not None and seconds is not None:
        given = Workload(executions_per_month=executions_per_month, durations_s=(seconds,), steps=steps or 1)
        return given, shapes
    stores = await Stores.open(settings, registry)
    try:
        workload = await recorded_workload(stores.records)
    finally:
        await stores.close()
    if executions_per_month is not None:
        # Others than those that were recorded: they come as often in each hour, and by chance.
        workload = replace(workload, executions_per_month=executions_per_month, arrivals_s=())
    if seconds is not None:
        workload = replace(workload, durations_s=(seconds,))
    return (workload if steps is None else replace(workload, steps=steps)), shapes


def _print(advice: Advice, services: list[ServiceAdvice]) -> None:
    rows = [
        (
            one.target,
            "-" if one.usd_per_month is None else f"${one.usd_per_month:,.2f}",
            f"{one.p50_s:.3g} s",
            f"{one.p99_s:.3g} s",
            one.why,
        )
        for one in advice.choices
    ]
    print_table(("RUNNER ON", "A MONTH", "P50", "P99", "WHY"), rows)
    click.echo(printable(f"recommended: {advice.recommended}, {advice.reason}"))
    click.echo()
    print_table(
        ("SERVICE", "CALLS A MONTH", "LAMBDA", "ECS", "RECOMMENDED"),
        [
            (
                one.service,
                f"{one.calls_per_month:,.0f}",
                f"${one.lambda_usd:,.2f}",
                f"${one.ecs_usd:,.2f}",
                f"{one.recommended}: {one.why}",
            )
            for one in services
        ],
    )
    click.echo()
    click.echo("assumed:")
    for line in advice.assumptions:
        click.echo(printable(f"  {line}"))
