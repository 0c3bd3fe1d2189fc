"""Definitions in Python: the same model as in YAML, and errors that name the author's line."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import turnout
from turnout import (
    CodeSettings,
    Integration,
    action,
    branch,
    call,
    code,
    connection,
    expr,
    flow,
    loop,
    on,
    otherwise,
    parallel,
    retry,
    schedule,
    stop,
    variable,
    wait,
    when,
)
from turnout.definition import dump, load_integration, validate
from turnout.definition.loader import load_yaml_text
from turnout.errors import DefinitionError
from turnout.interfaces.connector import Connector

ORDERS = '''
from turnout import CodeSettings, Integration, action, code, connection, expr, flow, retry, stop, variable, webhook

LARGE = """\\
export default ({ orders, minimum }) =>
  orders.filter((order) => order.total >= minimum)
"""

integration = Integration(
    name="orders-to-erp",
    version="1.0.0",
    description="Pull the orders document, keep the large orders, post them to the ERP.",
    config=[
        variable("erp_url", description="Base URL of the ERP's API"),
        variable("minimum_total", "number", default=100, description="Orders below this total are left out"),
    ],
    connections=[connection("files", "dropbox"), connection("erp", "http", "bearer")],
    code=CodeSettings(dependencies="package-lock.json"),
    flows=[
        flow(
            "sync-orders",
            webhook(),
            timeout="5m",
            steps=[
                action("fetch", "dropbox.download", connection="files", path="/orders.xml"),
                code("parse", file="parse.js", xml=expr("steps.fetch.text")),
                code("large", LARGE, orders=expr("steps.parse"), minimum=expr("config.minimum_total")),
                action("batch", "state.increment", key="batches"),
                action(
                    "post",
                    "http.request",
                    connection="erp",
                    method="POST",
                    url="${{ config.erp_url }}/orders",
                    json={"batch": expr("steps.batch.value"), "orders": expr("steps.large")},
                    retry=retry(5, delay="1s", backoff="exponential"),
                ),
                stop("result", output={"posted": expr("length(steps.large)"), "receipt": expr("steps.post.json.receipt")}),
            ],
        )
    ],
)
'''


def test_the_story_in_python_is_the_story_in_yaml(orders: Path, connectors: Mapping[str, Connector]) -> None:
    in_yaml = load_integration(orders)
    (orders / "integration.yaml").unlink()
    (orders / "integration.py").write_text(ORDERS)

    in_python = load_integration(orders)

    assert in_python == in_yaml
    assert dump(in_python, positions=False) == dump(in_yaml, positions=False)
    assert in_python.directory == in_yaml.directory == str(orders)
    assert validate(in_python, connectors) == []


def test_every_kind_of_step_is_what_yaml_makes_of_it() -> None:
    in_yaml = load_yaml_text(
        dedent(
            """
            integration: x
            config: {mode: {type: string, choices: [a, b], required: false}}
            flows:
              main:
                trigger: {schedule: {cron: 0 6 * * *, timezone: UTC}}
                description: All of it
                steps:
                  - id: size
                    branch:
                      - when: config.big
                        steps: [{id: one, wait: 5m}]
                      - else: [{id: two, wait: {until: "2026-12-24T18:00:00+00:00"}}]
                    on_crash: park
                  - id: each
                    loop: {over: [1, 2], as: n, concurrency: 3, collect: "${{ n }}", steps: [{id: three, call: other}]}
                    on_error: continue
                  - id: pages
                    loop: {while: true, limit: 3, steps: [{id: four, call: other, with: {a: 1}}]}
                    on_error: [{id: five, stop: {error: gone}}]
                  - id: both
                    parallel: {left: [{id: six, wait: {callback: true}, timeout: 1h}]}
                    when: true
                  - id: seven
                    action: http.request
                    with: {when: x, url: y}
                    description: Ask
                    retry: 2
                  - id: eight
                    call: other
                    with: "${{ trigger.body }}"
              other:
                trigger: {box.changed: {connection: c, with: {path: /}}}
                steps: [{id: a, stop: }]
              third:
                trigger: {schedule: {every: 90s}}
                steps: [{id: a, stop: {output: [1]}}]
            """
        )
    )

    in_python = Integration(
        name="x",
        config=[variable("mode", choices=["a", "b"], required=False)],
        flows=[
            flow(
                "main",
                schedule("0 6 * * *", timezone="UTC"),
                description="All of it",
                steps=[
                    branch(
                        "size",
                        when("config.big", [wait("one", "5m")]),
                        otherwise([wait("two", until=datetime(2026, 12, 24, 18, tzinfo=UTC))]),
                        on_crash="park",
                    ),
                    loop(
                        "each",
                        (1, 2),
                        as_="n",
                        concurrency=3,
                        collect=expr("n"),
                        steps=[call("three", "other")],
                        on_error="continue",
                    ),
                    loop(
                        "pages",
                        while_=True,
                        limit=3,
                        steps=[call("four", "other", a=1)],
                        on_error=[stop("five", error="gone")],
                    ),
                    parallel("both", {"left": [wait("six", callback=True, timeout=timedelta(hours=1))]}, when=True),
                    action("seven", "http.request", inputs={"when": "x"}, url="y", description="Ask", retry=2),
                    call("eight", "other", inputs=expr("trigger.body")),
                ],
            ),
            flow("other", on("box.changed", connection="c", path="/"), steps=[stop("a")]),
            flow("third", schedule(every="90s"), steps=[stop("a", output=(1,))]),
        ],
    )

    assert in_python == in_yaml
    assert dump(in_python, positions=False) == dump(in_yaml, positions=False)


def test_positions_are_the_lines_of_the_authors_calls() -> None:
    frame = inspect.currentframe()
    assert frame is not None
    step = stop("a")
    line = frame.f_lineno - 1

    assert step.position is not None
    assert (step.position.file, step.position.line) == (__file__, line)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: stop("a", timeout="soon"), "'soon' is not a duration"),
        (lambda: stop("a", output=object()), "a object is not JSON-like"),
        (lambda: stop("a", output={1: 2}), "the key 1 is not text"),
        (lambda: stop("a", output=datetime(2026, 1, 1, tzinfo=UTC)), "ISO 8601"),
        (lambda: stop("a", on_crash="explode"), "'explode' is not a valid OnCrash"),
        (lambda: stop("a", retries=3), "did you mean 'retry'"),  # type: ignore[call-arg]  # wrong on purpose
        (lambda: retry(backoff="fast"), "retry"),
        (lambda: variable("a", "decimal"), "config variable 'a'"),
        (lambda: flow("a", timeout=-1, steps=[]), "not negative"),
    ],
)
def test_what_is_wrong_is_told_with_the_authors_line(make: object, message: str) -> None:
    assert callable(make)

    with pytest.raises(DefinitionError, match=message) as caught:
        make()

    assert caught.value.problems[0].file == __file__
    assert caught.value.problems[0].line > 0


def test_two_flows_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two of flow 'a'"):
        Integration(name="x", flows=[flow("a", steps=[]), flow("a", steps=[])])


def test_validation_names_the_line_in_a_python_definition(
    orders: Path, connectors: Mapping[str, Connector], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(orders)
    (orders / "integration.yaml").unlink()
    (orders / "integration.py").write_text(ORDERS.replace("steps.fetch.text", "steps.fetc.text"))

    [problem] = validate(load_integration(orders), connectors)

    line = ORDERS[: ORDERS.index('code("parse"')].count("\n") + 1
    assert (problem.file, problem.line) == ("integration.py", line)
    assert problem.hint == "did you mean 'fetch'?"


def test_an_integration_can_be_copied_with_changes() -> None:
    integration = Integration(name="x", code=CodeSettings(dependencies="a"), connections=[connection("c", "http")])

    assert replace(integration, name="y").connections == integration.connections
    assert load_yaml_text("integration: x\nflows: {a: {steps: [{id: a, code: a.js}]}}").flows["a"].steps == (
        code("a", file="a.js"),
    )


def test_importing_turnout_and_the_definition_package_loads_nothing_heavy() -> None:
    probe = (
        "import sys, turnout, turnout.definition\n"
        "print([name for name in ('pydantic', 'yaml', 'msgspec', 'jmespath') if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_all_that_is_exported_is_there() -> None:
    assert all(getattr(turnout, name) is not None for name in turnout.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        turnout.nonsense  # noqa: B018 - asking is the test


def test_retry_may_be_a_mapping_as_in_yaml() -> None:
    written = {"attempts": 2, "delay": "1s", "backoff": "linear", "jitter": False, "errors": "timeout"}

    assert stop("a", retry=written).retry == retry(2, delay=1, backoff="linear", jitter=0, errors=["timeout"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"retry": {"attemps": 2}}, "`retry` is retry"),
        ({"retry": "often"}, "`retry` is retry"),
        ({"on_error": [{"id": "b"}]}, "a dict is not a step"),
        ({"steps": stop}, "a function is not a step"),
        ({"steps": ["x"]}, "step 'a': a str is not a step"),
    ],
)
def test_what_is_no_step_is_refused_with_the_line_of_the_call(given: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message) as refusal:
        loop("a", [1], **{"steps": [stop("b")], **given})

    assert refusal.value.problems[0].file == __file__
