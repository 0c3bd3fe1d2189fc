"""Write docs/explanation/scale.md: the original story and the scaling policies, as the simulation has them.

`python -m tools.generate_scale` writes the page; a test compares it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from turnout.deploy.advice.comparing import advise
from turnout.deploy.advice.costs import LambdaShape, TaskShape, task_usd_per_h
from turnout.deploy.advice.prices import read_prices
from turnout.deploy.advice.scaling import Policy
from turnout.deploy.advice.simulation import Outcome, simulate
from turnout.deploy.advice.workload import MONTH_DAYS, Workload

__all__ = ["STORY", "STORY_FUNCTION", "chosen", "main", "page", "policies"]

PAGE: Final = Path(__file__).parent.parent / "docs" / "explanation" / "scale.md"
VOLUMES: Final = (10**5, 10**6, 10**7, 10**8, 10**9)
WITHIN_S: Final = 10.0
STORY: Final = Workload(executions_per_month=100_000, durations_s=(2.0,), steps=6)
STORY_FUNCTION: Final = LambdaShape(cold_s=9.0, cold_share=1.0, hop_s=0.5)
_TASK: Final = TaskShape()


def policies() -> Iterator[Policy]:
    for target in (2.0, 3.0, 4.0, 6.0, 12.0):
        for minimum in (1, 2):
            for out_s in (10.0, 60.0):
                yield Policy(target=target, minimum=minimum, out_s=out_s)


@cache
def outcome(policy: Policy, volume: int) -> Outcome:
    workload = Workload(executions_per_month=volume, durations_s=(2.0,), steps=6)
    return simulate(workload, policy, _TASK.concurrency)


def usd(result: Outcome) -> float:
    return result.task_h * MONTH_DAYS * task_usd_per_h(read_prices().prices, _TASK)


def chosen() -> Policy:
    """The policy with the least cost, each volume counting alike, of those with the fewest volumes whose p99 of waiting is above
    `WITHIN_S`."""

    def worth(policy: Policy) -> tuple[int, float]:
        results = [outcome(policy, volume) for volume in VOLUMES]
        cheapest = [min(usd(outcome(other, volume)) for other in policies()) for volume in VOLUMES]
        late = sum(result.wait_p99_s > WITHIN_S for result in results)
        return late, sum(usd(result) / least for result, least in zip(results, cheapest, strict=True))

    return min(policies(), key=worth)


def page() -> str:
    return "\n".join([*_story(), *_policies(), *_curves(), *_limits()]) + "\n"


def _story() -> Iterator[str]:
    table = read_prices()
    advice = advise(STORY, table, function=STORY_FUNCTION)
    yield "# Cost and scale"
    yield ""
    yield "<!-- Written by tools/generate_scale.py; `python -m tools.generate_scale` writes it again. -->"
    yield ""
    yield "What `turnout advise` computes, for the integration that Turnout began with, and how the default scaling policy of a runner on"
    yield "ECS was chosen. Nothing here was measured on AWS: it is arithmetic on list prices, and a simulation."
    yield ""
    yield "## Six steps, three ways"
    yield ""
    yield "An integration of 6 steps that work 2 s in all, 100,000 times a month. As one Lambda a step over SQS it took about a minute. That is"
    yield "what comes out where every function starts cold in 9 s and a hop takes 0.5 s: both are assumed, so as to give the minute that was seen."
    yield ""
    yield "| target | $ a month | p50 | p99 |"
    yield "| --- | ---: | ---: | ---: |"
    for one in advice.choices:
        cost = "-" if one.usd_per_month is None else f"{one.usd_per_month:,.2f}"
        yield f"| {one.target} | {cost} | {one.p50_s:.1f} s | {one.p99_s:.1f} s |"
    yield ""
    yield "A warm function has no cold start, and then Lambda is the cheapest for so little work: `--cold-share` and `--cold-start` say what holds for yours."
    yield ""
    yield "Assumed:"
    yield ""
    yield from (f"- {line}" for line in advice.assumptions)
    yield ""


def _policies() -> Iterator[str]:
    best = chosen()
    yield "## Scaling policies"
    yield ""
    yield "A task takes a minute to start, so what comes suddenly waits unless tasks have room. A policy has a target (executions, due or running, a"
    yield "task that runs 8 at once), the fewest tasks, and a time between additions. Below: p99 of waiting in seconds and dollars a month, where the"
    yield "first minute of each hour brings three times what the others do, and ten times as many at work as at night."
    yield ""
    yield "| target | fewest | added every | " + " | ".join(f"{volume:,} a month" for volume in VOLUMES) + " |"
    yield "| ---: | ---: | ---: |" + " ---: |" * len(VOLUMES)
    for policy in policies():
        cells = [f"{result.wait_p99_s:.1f} s, ${usd(result):,.0f}" for result in (outcome(policy, v) for v in VOLUMES)]
        mark = " **(default)**" if policy == best else ""
        yield f"| {policy.target:g}{mark} | {policy.minimum} | {policy.out_s:g} s | " + " | ".join(cells) + " |"
    yield ""
    yield f"The default is {best.target:g} executions a task, never fewer tasks than {best.minimum}, additions every {best.out_s:g} s, and fewer tasks once fewer were"
    yield f"enough for {best.in_s:g} s. The rule: as few volumes as can be whose p99 of waiting is above {WITHIN_S:g} s, then the least cost, each volume counting alike."
    yield ""


def _curves() -> Iterator[str]:
    best = chosen()
    yield "## The default policy's curve"
    yield ""
    yield "| executions a month | how | p50 of waiting | p99 of waiting | most tasks | $ a month | $ a million |"
    yield "| ---: | --- | ---: | ---: | ---: | ---: | ---: |"
    for volume in VOLUMES:
        result = outcome(best, volume)
        cost = usd(result)
        how = "each" if result.exact else "fluid"
        yield (
            f"| {volume:,} | {how} | {result.wait_p50_s:.1f} s | {result.wait_p99_s:.1f} s | {result.most_tasks} | "
            f"{cost:,.0f} | {cost / volume * 1e6:,.2f} |"
        )
    yield ""


def _limits() -> Iterator[str]:
    yield "## What the simulation leaves out"
    yield ""
    yield "- Up to 50,000 executions a day are simulated one by one with SimPy. Above, they are a fluid: expected numbers in steps of 2 s, durations as if"
    yield "  exponential. Waits shorter than a step, and what chance does, are not in it. A test compares both at a size where both run."
    yield "- The number of executions is known at each look, every 10 s; CloudWatch's own delay, and its slower scaling in, are not in it."
    yield "- The template that `turnout package` makes for ECS has this policy where `[metrics]` publishes the number: an alarm that looks every 10 s adds,"
    yield "  in steps, as many tasks as the policy says but for one, or more; and processor use adds tasks besides, and keeps them."
    yield "- A day is like every other; the queue, the stores and the systems that flows call are never what is slow."
    yield "- Tasks that end let go of their executions only once they have ended; no task is lost."


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
