"""The rule by which a service on ECS gets more or fewer tasks: target tracking on the executions a task that are due or running."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

__all__ = ["DEFAULT_POLICY", "Policy", "Scaler"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """`target` executions, due and running, a task; looked at every `look_s`. Tasks are added at most every `out_s`, and taken away
    once fewer were enough for `in_s`. A task takes `start_s` until it works."""

    target: float
    minimum: int = 1
    maximum: int = 100_000
    look_s: float = 10.0
    out_s: float = 60.0
    in_s: float = 300.0
    start_s: float = 60.0


DEFAULT_POLICY: Final = Policy(target=2.0)
"""Chosen from the simulation, for tasks that run 8 at once: docs/explanation/scale.md has the others."""


class Scaler:
    """Says how many tasks there should be. It has no clock: who asks says when."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._wanted: deque[tuple[float, int]] = deque()
        self._added_at = -math.inf

    def desired(self, now_s: float, load: float, tasks: int) -> int:
        """The tasks that `load` executions, due and running, ask for where `tasks` run or are starting."""
        policy = self._policy
        wanted = min(policy.maximum, max(policy.minimum, math.ceil(load / policy.target)))
        while self._wanted and self._wanted[0][0] <= now_s - policy.in_s:
            self._wanted.popleft()
        # Falling, so that the first is the most that was wanted in the window.
        while self._wanted and self._wanted[-1][1] <= wanted:
            self._wanted.pop()
        self._wanted.append((now_s, wanted))
        if wanted > tasks:
            if now_s - self._added_at < policy.out_s:
                return tasks
            self._added_at = now_s
            return wanted
        return min(tasks, self._wanted[0][1])
