"""Deploying all packages of an environment: which services move, and stack after stack so that none is ever nowhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

from turnout_aws.deploying.deployer import Deployer, Plan
from turnout_aws.deploying.moving import LOCAL, Move, Services, Step, moves_of, order, services_of, wanted_of
from turnout_aws.deploying.packages import PackageFiles
from turnout_aws.deploying.stacks import Stack

__all__ = ["Rollout"]

_RUNNING: Final = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """What is to be done, from what the cloud has now. `held` are targets that go on with what they would lose."""

    deployer: Deployer
    packages: Mapping[str, PackageFiles]
    stacks: Mapping[str, Stack]
    moves: tuple[Move, ...]
    gains: Services
    steps: tuple[Step, ...]
    held: frozenset[str]

    @classmethod
    async def plan(
        cls,
        deployer: Deployer,
        packages: Sequence[PackageFiles],
        stacks: Sequence[Stack],
        placed: Callable[[str], str],
        *,
        started: frozenset[str],
        target: str | None,
    ) -> Self:
        """`placed` is where settings place a service, `started` those that run at their `local` place, `target` the only one to
        change. What is being changed by somebody is waited for. `UserError` where packages and settings do not agree."""
        by_target = {one.tags.get("turnout:target", ""): one for one in stacks}
        now = {name: await deployer.stacks.at_rest(one, deployer.tell) for name, one in by_target.items()}
        at_rest = {name: one for name, one in now.items() if one is not None}
        running = {
            name: services_of(await deployer.stacks.template(one))
            for name, one in at_rest.items()
            if one.status in _RUNNING
        }
        by_name = {one.target: one for one in packages}
        wanted = wanted_of({name: one.services for name, one in by_name.items()}, placed)
        moves = moves_of(running, wanted, placed)
        held = frozenset(one.origin for one in moves if one.to == LOCAL and one.service not in started)
        if target is not None:
            held |= {one.origin for one in moves if one.to != LOCAL and one.service not in running.get(one.to, ())}
        steps = order(running, wanted, moves, held)
        return cls(
            deployer=deployer,
            packages=by_name,
            stacks=at_rest,
            moves=moves,
            gains={name: services - running.get(name, frozenset()) for name, services in wanted.items()},
            steps=tuple(one for one in steps if target in {None, one.target}),
            held=held,
        )

    def advice(self) -> list[str]:
        """What somebody has to do, a sentence each."""
        told = []
        for move in self.moves:
            if move.origin not in self.held:
                continue
            if move.to == LOCAL:
                start = "turnout worker" if move.service == "runner" else f"turnout service run {move.service}"
                told.append(
                    f"{move.service}: {move.origin} still runs it: start it at its new place (`{start}`, or `turnout serve`), "
                    f"and once it works there `turnout deploy --started {move.service}`"
                )
            else:
                told.append(
                    f"{move.service}: {move.origin} still runs it: `turnout deploy` without `--target` moves it"
                )
        return told

    async def run(self, *, dry_run: bool) -> list[Plan]:
        """Step after step; one that fails ends it, and each service is still where it was, or where it goes, or at both. The
        plan of each stack: of its last step where it would be two."""
        phases = Counter(one.target for one in self.steps)
        plans: dict[str, Plan] = {}
        for number, step in enumerate(self.steps):
            last = all(later.target != step.target for later in self.steps[number + 1 :])
            if dry_run and not last:
                continue
            made = await self._step(step, dry_run=dry_run)
            before = plans.pop(step.target, None)
            changes = (*before.changes, *made.changes) if before else made.changes
            moves = tuple(one for one in self.moves if step.target in {one.origin, one.to})
            plans[step.target] = replace(made, changes=changes, moves=moves, phases=phases[step.target])
        return list(plans.values())

    async def _step(self, step: Step, *, dry_run: bool) -> Plan:
        if step.target in self.gains:
            return await self.deployer.deploy(self.packages[step.target], dry_run=dry_run, loses=step.loses)
        return await self.deployer.clear(self.stacks[step.target], dry_run=dry_run)
