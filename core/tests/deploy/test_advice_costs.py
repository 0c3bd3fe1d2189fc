"""What is computed from prices: by hand, and whichever way the values go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout.deploy.advice.costs import LambdaShape, TaskShape, calls_usd, lambda_latency_s, lambda_usd, task_usd_per_h
from turnout.deploy.advice.prices import read_prices
from turnout.deploy.advice.workload import Workload, quantile
from turnout.errors import SettingsError

PRICES = read_prices().prices
WARM = LambdaShape(cold_share=0.0, hop_s=0.5)
MILLION = Workload(executions_per_month=1e6, durations_s=(2.0,), steps=6)


def test_one_function_an_execution_costs_what_a_person_computes() -> None:
    # 1 million requests 0.20; 2 million GB-seconds 33.3334; 3 million requests of SQS 1.20
    assert lambda_usd(PRICES, WARM, MILLION, functions=1) == pytest.approx(0.20 + 33.3334 + 1.20)


def test_a_function_a_step_pays_for_six_times_the_calls_and_the_same_work() -> None:
    assert lambda_usd(PRICES, WARM, MILLION, functions=6) == pytest.approx(6 * 0.20 + 33.3334 + 6 * 1.20)


def test_a_message_of_65_kb_is_two_requests_to_send_and_two_to_receive() -> None:
    large = replace(MILLION, payload_bytes=65 * 1024)
    assert lambda_usd(PRICES, WARM, large, functions=1) == pytest.approx(0.20 + 33.3334 + 5 * 0.40)


def test_a_task_of_one_vcpu_and_two_gb_costs_what_a_person_computes() -> None:
    assert task_usd_per_h(PRICES, TaskShape()) == pytest.approx(0.04048 + 2 * 0.004445)
    assert task_usd_per_h(PRICES, TaskShape(arm=True)) == pytest.approx(0.03238 + 2 * 0.00356)


def test_cold_starts_are_counted_at_the_share_that_is_asked_about() -> None:
    rare = LambdaShape(cold_share=0.01, cold_s=9.0, hop_s=0.5)
    # Of six functions one is cold in 6 of 100 executions: not at the median, once at p99.
    assert lambda_latency_s(rare, MILLION, 0.5, functions=6) == pytest.approx(2 + 3)
    assert lambda_latency_s(rare, MILLION, 0.99, functions=6) == pytest.approx(2 + 3 + 9)


@given(st.floats(1, 1e9), st.floats(1, 1e9), st.integers(1, 20))
def test_more_executions_never_cost_less(one: float, other: float, functions: int) -> None:
    fewer, more = sorted((one, other))
    costs = [
        lambda_usd(PRICES, LambdaShape(), replace(MILLION, executions_per_month=count), functions=functions)
        for count in (fewer, more)
    ]
    assert costs[0] <= costs[1]


@given(st.floats(0, 900), st.floats(0, 900), st.floats(0, 1))
def test_longer_calls_never_cost_less(one: float, other: float, cold_share: float) -> None:
    shape = LambdaShape(cold_share=cold_share)
    shorter, longer = sorted((one, other))
    assert calls_usd(PRICES, shape, calls=1000, seconds=shorter) <= calls_usd(PRICES, shape, calls=1000, seconds=longer)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_quantile_is_no_smaller_and_one_of_the_values(values: list[float], one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert quantile(values, low) <= quantile(values, high)
    assert quantile(values, high) in values


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("usd = 0.40", "usd = -1", "prices.sqs_requests_per_million.usd: a number of dollars that is not negative"),
        ("usd = 0.40", "usd = nan", "prices.sqs_requests_per_million.usd"),
        ("usd = 0.40", "usd = true", "prices.sqs_requests_per_million.usd"),
        ("[prices.sqs_requests_per_million]", "[prices.sqs_requests]", "prices.sqs_requests: there is no such price"),
        ('region = "us-east-1"', "", "region: a text is needed"),
        ("usd = 0.40", "usd = ", "line 21"),
    ],
)
def test_a_broken_price_table_is_refused_with_its_place(tmp_path: Path, old: str, new: str, named: str) -> None:
    import turnout.deploy.advice.prices as module

    text = Path(module.__file__).with_name("prices.toml").read_text()
    assert text.count(old) == 1
    file = tmp_path / "mine.toml"
    file.write_text(text.replace(old, new))

    with pytest.raises(SettingsError) as raised:
        read_prices(file)

    assert str(raised.value).startswith(f"{file}: ")
    assert named in str(raised.value)


def test_every_price_names_where_it_was_read() -> None:
    assert all(source.startswith("https://") for source in read_prices().sources.values())
