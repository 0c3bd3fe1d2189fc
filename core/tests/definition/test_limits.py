"""Limits in definitions: what is read, in both languages, what is refused and where, and what stays the same."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from turnout import Integration, expr, flow, limits, stop, webhook
from turnout.definition import dump, json_schema, load_integration, parse, validate
from turnout.definition.loader import load_yaml_text
from turnout.definition.nodes import plain
from turnout.definition.yaml_source import read_text
from turnout.errors import DefinitionError, Problem
from turnout.model.limits import (
    ConcurrencyLimit,
    DebounceLimit,
    Deduplication,
    FlowLimits,
    OrderLimit,
    Per,
    RateLimit,
)

FLOW = """\
integration: shop
config:
  parallel: {type: integer, default: 2}
flows:
  import:
    trigger: webhook
    limits:
      %s
    steps: [{id: done, stop: {output: "${{ config.parallel }}"}}]
"""
SCHEMA = Draft202012Validator(json_schema())


def text(written: str) -> str:
    return FLOW % written.strip().replace("\n", "\n      ")


FORMS: list[tuple[str, dict[str, Any], FlowLimits]] = [
    ("concurrency: 5", {"concurrency": 5}, FlowLimits(concurrency=(ConcurrencyLimit(most=5),))),
    (
        "concurrency: {most: 1, per: customer, key: '${{ trigger.body.account }}'}",
        {"concurrency": {"most": 1, "per": "customer", "key": expr("trigger.body.account")}},
        FlowLimits(concurrency=(ConcurrencyLimit(most=1, per=Per.CUSTOMER, key="${{ trigger.body.account }}"),)),
    ),
    (
        "concurrency:\n  - 4\n  - most: ${{ config.parallel }}\n    per: instance",
        {"concurrency": [4, {"most": expr("config.parallel"), "per": "instance"}]},
        FlowLimits(
            concurrency=(ConcurrencyLimit(most=4), ConcurrencyLimit(most="${{ config.parallel }}", per=Per.INSTANCE))
        ),
    ),
    (
        "rate: {most: 10, window: 1m}",
        {"rate": {"most": 10, "window": timedelta(minutes=1)}},
        FlowLimits(rate=(RateLimit(most=10, window_s=60.0),)),
    ),
    (
        "order: ${{ trigger.body.order_id }}",
        {"order": expr("trigger.body.order_id")},
        FlowLimits(order=OrderLimit(key="${{ trigger.body.order_id }}")),
    ),
    ("order: {per: instance}", {"order": {"per": "instance"}}, FlowLimits(order=OrderLimit(per=Per.INSTANCE))),
    ("debounce: 10s", {"debounce": "10s"}, FlowLimits(debounce=DebounceLimit(wait_s=10.0))),
    (
        "debounce:\n  wait: 10s\n  longest: 2m\n  key:\n    - ${{ trigger.body.account }}\n    - ${{ trigger.body.id }}",
        {
            "debounce": {
                "wait": 10,
                "longest": timedelta(minutes=2),
                "key": (expr("trigger.body.account"), expr("trigger.body.id")),
            }
        },
        FlowLimits(
            debounce=DebounceLimit(
                wait_s=10.0, longest_s=120.0, key=["${{ trigger.body.account }}", "${{ trigger.body.id }}"]
            )
        ),
    ),
    (
        "deduplicate: ${{ trigger.body.id }}",
        {"deduplicate": expr("trigger.body.id")},
        FlowLimits(deduplicate=Deduplication(key="${{ trigger.body.id }}", window_s=86400.0)),
    ),
    (
        "deduplicate: {key: '${{ trigger.body.id }}', window: 7d}",
        {"deduplicate": {"key": expr("trigger.body.id"), "window": "7d"}},
        FlowLimits(deduplicate=Deduplication(key="${{ trigger.body.id }}", window_s=604800.0)),
    ),
    ("priority: -5", {"priority": -5}, FlowLimits(priority=-5)),
    (
        "priority: '${{ trigger.body.urgent && `10` || `0` }}'",
        {"priority": expr("trigger.body.urgent && `10` || `0`")},
        FlowLimits(priority="${{ trigger.body.urgent && `10` || `0` }}"),
    ),
]


@pytest.mark.parametrize(("written", "given", "meant"), FORMS)
def test_yaml_and_python_say_the_same(written: str, given: dict[str, Any], meant: FlowLimits) -> None:
    from_yaml = load_yaml_text(text(written)).flows["import"].limits
    steps = [stop("done")]

    assert from_yaml == meant
    assert limits(**given) == meant
    assert flow("import", webhook(), steps=steps, limits=given).limits == meant
    assert flow("import", webhook(), steps=steps, limits=limits(**given)).limits == meant


@pytest.mark.parametrize(("written", "given", "meant"), FORMS)
def test_they_come_back_from_a_bundle_and_pass_schema_and_validation(
    written: str, given: dict[str, Any], meant: FlowLimits
) -> None:
    integration = load_yaml_text(text(written))

    assert parse(dump(integration)).flows["import"].limits == meant
    assert validate(integration, {}) == []
    assert list(SCHEMA.iter_errors(plain(read_text(text(written), name="integration.yaml")))) == []


def test_a_flow_without_limits_is_written_into_a_bundle_as_ever() -> None:
    integration = load_yaml_text("integration: x\nflows: {main: {steps: [{id: done, stop: {}}]}}")

    assert b"limits" not in dump(integration)


@pytest.mark.parametrize(
    ("written", "place", "message"),
    [
        ("concurrency: 0", "8:20", "`most` must be from 1 to 1000000, not 0"),
        ("concurrency: true", "8:20", "`most` must be a whole number"),
        ("concurrency: many", "8:20", "`most` must be a whole number, not 'many'"),
        ("concurrency: [{per: flow}]", "8:21", "`concurrency` needs `most`"),
        ("concurrency: {most: 1, limit: 5}", "8:30", "`concurrency` has no key 'limit' (it is called 'most' here)"),
        ("concurrency: {most: 5, scope: flow}", "8:30", "has no key 'scope' (it is called 'per' here)"),
        ("concurrency: {most: 5, per: tenant}", "8:35", "`per` cannot be 'tenant'"),
        ("throttle: {most: 1, window: 1s}", "8:7", "`limits` has no key 'throttle' (it is called 'rate' here)"),
        ("rate: 10", "8:13", "`rate` is a mapping with `most`, `window`, `per`, `key`"),
        ("rate: {most: 10}", "8:13", "`rate` needs `window`"),
        ("rate: {most: 1, window: soon}", "8:31", "`window`: 'soon' is not a duration"),
        ("deduplicate: {window: 1h}", "8:20", "`deduplicate` needs `key`"),
        ("priority: 5000", "8:17", "`priority` must be from -1000 to 1000"),
        ("debounce: {wait: 1s, timeout: 5s}", "8:28", "`debounce` has no key 'timeout'"),
    ],
)
def test_what_cannot_be_read_is_refused_at_its_place(written: str, place: str, message: str) -> None:
    with pytest.raises(DefinitionError) as refusal:
        load_yaml_text(text(written))

    [problem] = refusal.value.problems
    assert f"{problem.line}:{problem.column}" == place
    assert message in str(problem)


def found(tmp_path: Path, written: str) -> list[Problem]:
    (tmp_path / "integration.yaml").write_text(written)
    return validate(load_integration(tmp_path), {})


@pytest.mark.parametrize(
    ("written", "place", "message"),
    [
        ("rate: {most: 1, window: 0s}", "8:31", "`window` must be longer than nothing"),
        ("debounce: {wait: 0s}", "8:24", "`wait` must be longer than nothing"),
        ("debounce: 0s", "8:17", "`wait` must be longer than nothing"),
        ("debounce: {wait: 2m, longest: 10s}", "8:37", "`longest` is shorter than `wait` (120 s)"),
        ("deduplicate: {key: '${{ trigger.id }}', window: 0s}", "8:55", "`window` must be longer than nothing"),
        ("order: trigger.body.id", "8:14", "the key 'trigger.body.id' is the same for every execution"),
        ("order: ${{ steps.done }}", "8:18", "nothing is called 'steps' here (limits are settled before"),
        ("order: ${{ execution.id }}", "8:18", "nothing is called 'execution' here (limits are settled before"),
        ("order: ${{ triger.body }}", "8:18", "nothing is called 'triger' here (did you mean 'trigger'?)"),
        ("concurrency: ${{ config.paralel }}", "8:24", "there is no config variable 'paralel'"),
        ("concurrency:\n  - 1\n  - {most: 1, key: '${{ config.x }}'}", "10:31", "there is no config variable 'x'"),
        ("concurrency:\n  - 1\n  - 2", "10:11", "`concurrency` says twice how many of the same"),
        ("deduplicate: {key: '${{ trigger. }}'}", "8:39", "it ends too early"),
        ("priority: ${{ steps.done }}", "8:21", "nothing is called 'steps' here"),
    ],
)
def test_what_cannot_hold_is_found_at_its_place(tmp_path: Path, written: str, place: str, message: str) -> None:
    [problem] = found(tmp_path, text(written))

    assert f"{problem.line}:{problem.column}" == place, problem
    assert message in str(problem)
    assert problem.severity == "error"


def test_limits_of_a_flow_that_only_others_call_are_refused(tmp_path: Path) -> None:
    [problem] = found(tmp_path, text("concurrency: 1").replace("trigger: webhook", "trigger: call"))

    assert (problem.line, problem.severity) == (7, "error")
    assert "its limits have no effect" in problem.message


def test_flows_that_count_together_by_different_numbers_are_told_of(tmp_path: Path) -> None:
    shared = (
        "    trigger: webhook\n    limits: {concurrency: {most: %d, per: instance}}\n    steps: [{id: s, stop: {}}]\n"
    )
    written = "integration: x\nflows:\n  one:\n" + shared % 5 + "  two:\n" + shared % 3

    [problem] = found(tmp_path, written)

    assert (problem.line, problem.column, problem.severity) == (9, 34, "warning")
    assert "at most 3 of this instance, and flow 'one' says at most 5 of the same" in problem.message


def test_a_config_variable_that_only_a_limit_reads_is_read(tmp_path: Path) -> None:
    written = text("concurrency: ${{ config.parallel }}").replace('"${{ config.parallel }}"', "1")

    assert found(tmp_path, written) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"concurrency": 0}, "`most` must be from 1"),
        ({"concurency": 1}, "did you mean 'concurrency'?"),
        ({"order": object()}, "is not JSON-like data"),
        ({"rate": {"most": 1, "window": "x"}}, "`window`: 'x' is not a duration"),
    ],
)
def test_in_python_the_line_of_the_call_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError) as refusal:
        flow("import", webhook(), steps=[stop("done")], limits=given)

    [problem] = refusal.value.problems
    assert problem.file == __file__
    assert problem.line > 200
    assert message in str(problem)


def test_limits_made_by_hand_are_held_to_the_same() -> None:
    broken = FlowLimits(
        concurrency=(ConcurrencyLimit(most=0), ConcurrencyLimit(most="five", per=Per.CUSTOMER)), priority=True
    )
    made = Integration(name="x", flows=[flow("main", webhook(), steps=[stop("done")], limits=broken)])

    messages = [problem.message for problem in validate(made, {})]

    assert messages == [
        "flow 'main': `most` must be from 1 to 1000000, not 0",
        "flow 'main': `most` must be a whole number, or an expression that gives one",
        "flow 'main': `priority` must be a whole number, or an expression that gives one",
    ]
