"""The simulation against what queueing theory knows, the fluid against the simulation, and the rule by which tasks come and go."""

from __future__ import annotations

import math
import random
import sys

import pytest
from turnout.deploy.advice.scaling import Policy, Scaler
from turnout.deploy.advice.simulation import poisson_arrivals, simulate, simulate_each, simulate_fluid
from turnout.deploy.advice.workload import DAY_S, Workload
from turnout.errors import UserError

FLAT = (1.0,) * 24


def erlang_c(servers: int, offered: float) -> float:
    """The chance that one has to wait in M/M/c."""
    last = offered**servers / math.factorial(servers) * servers / (servers - offered)
    return last / (sum(offered**k / math.factorial(k) for k in range(servers)) + last)


def fixed(tasks: int) -> Policy:
    return Policy(target=1.0, minimum=tasks, maximum=tasks)


def test_waits_are_those_of_m_m_c() -> None:
    servers, rate, mean_s = 4, 1.0, 3.2  # 80 % busy
    chance = random.Random(7)
    at, arrivals = 0.0, []
    while at < 150_000:
        at += chance.expovariate(rate)
        arrivals.append(at)
    durations = [chance.expovariate(1 / mean_s) for _ in arrivals]

    outcome = simulate_each(arrivals, durations, fixed(servers), 1, span_s=150_000)

    # P(W > t) = C · exp(-(c·mu - lambda)·t)
    waits, drain = erlang_c(servers, rate * mean_s), servers / mean_s - rate
    assert outcome.wait_p50_s == pytest.approx(math.log(waits / 0.5) / drain, abs=0.3)
    assert outcome.wait_p99_s == pytest.approx(math.log(waits / 0.01) / drain, rel=0.1)
    assert outcome.task_h == pytest.approx(servers * 150_000 / 3600, rel=0.001)


def test_who_comes_to_full_tasks_waits_for_one_to_start() -> None:
    policy = Policy(target=1.0, minimum=1, out_s=10.0, start_s=60.0)

    outcome = simulate_each([5.0, 5.0], [1000.0, 1000.0], policy, 1, span_s=3600)

    assert outcome.executions == 2
    # Seen at the next look, at 10 s, started at 70 s.
    assert outcome.wait_p99_s == pytest.approx(65.0)
    assert outcome.most_tasks == 2


def test_a_task_that_is_taken_away_ends_what_it_runs_first() -> None:
    policy = Policy(target=1.0, minimum=1, out_s=10.0, in_s=30.0, start_s=10.0)

    outcome = simulate_each([0.0, 0.0, 0.0], [30.0, 30.0, 500.0], policy, 1, span_s=1000)

    assert outcome.executions == 3
    # Two more are asked for at 10 s; one of them is idle when it is taken away, about 80 s, the other at 520 s.
    assert outcome.task_h * 3600 == pytest.approx(1000 + 70 + 510, abs=15)


def test_the_fluid_agrees_with_the_simulation_of_each_where_both_run() -> None:
    workload = Workload(executions_per_month=1_500_000, durations_s=(6.0,), steps=1, hours=FLAT, burst=0.3)
    policy = Policy(target=6.0)
    chance = random.Random(3)
    arrivals = list(poisson_arrivals(workload, DAY_S, chance))
    durations = [chance.expovariate(1 / 6.0) for _ in arrivals]

    each = simulate_each(arrivals, durations, policy, 8, span_s=DAY_S)
    fluid = simulate_fluid(workload, policy, 8)

    assert each.wait_p99_s > 20, "the bursts make some wait for tasks to start"
    assert fluid.executions == pytest.approx(each.executions, rel=0.02)
    assert fluid.wait_p50_s == pytest.approx(each.wait_p50_s, abs=3)
    assert fluid.wait_p99_s == pytest.approx(each.wait_p99_s, rel=0.2)
    assert fluid.task_h == pytest.approx(each.task_h, rel=0.15)


def test_the_same_seed_gives_the_same() -> None:
    workload = Workload(executions_per_month=30_000, durations_s=(1.0, 40.0), steps=1)
    policy = Policy(target=2.0)

    assert simulate(workload, policy, 2, seed=4) == simulate(workload, policy, 2, seed=4)
    assert simulate(workload, policy, 2, seed=4) != simulate(workload, policy, 2, seed=5)


def test_tasks_are_added_at_most_every_out_s_and_taken_away_after_in_s() -> None:
    scaler = Scaler(Policy(target=2.0, out_s=60.0, in_s=300.0))

    assert scaler.desired(0, load=8, tasks=1) == 4
    assert scaler.desired(30, load=20, tasks=4) == 4, "within out_s of the last addition"
    assert scaler.desired(60, load=20, tasks=4) == 10
    assert scaler.desired(70, load=2, tasks=10) == 10, "ten were wanted within in_s"
    assert scaler.desired(360, load=2, tasks=10) == 1


def test_what_to_install_is_said_where_simpy_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "simpy", None)
    with pytest.raises(UserError, match=r"pip install 'turnout\[advise\]'"):
        simulate_each([], [], fixed(1), 1, span_s=10)
