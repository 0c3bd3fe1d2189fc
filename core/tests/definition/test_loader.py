"""YAML to the model: every kind of step in every spelling that is documented, and every problem with its place."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent

import pytest
from turnout.definition.codec import dump, parse
from turnout.definition.loader import load_yaml_text
from turnout.errors import DefinitionError, Problem
from turnout.model.definition import (
    ActionStep,
    Backoff,
    BranchArm,
    BranchStep,
    CallStep,
    CodeStep,
    ConfigType,
    ConfigVariable,
    ConnectionSlot,
    Integration,
    LoopStep,
    OnCrash,
    ParallelStep,
    Position,
    Retry,
    Step,
    StopStep,
    Trigger,
    WaitStep,
)


def load(text: str) -> Integration:
    return load_yaml_text(dedent(text))


def step(text: str) -> Step:
    """The one step of a flow, written without its dash."""
    body = indent(dedent(text).strip(), "        ")
    [found] = load(f"integration: x\nflows:\n  main:\n    steps:\n      - id: a\n{body}\n").flows["main"].steps
    return found


def trigger(text: str) -> Trigger:
    flow = f"integration: x\nflows:\n  main:\n    trigger: {text}\n    steps: [{{id: a, stop: }}]\n"
    return load(flow).flows["main"].trigger


def problems(text: str) -> list[Problem]:
    with pytest.raises(DefinitionError) as caught:
        load(text)
    return list(caught.value.problems)


INNER = (StopStep(id="b"),)


def test_the_whole_top_of_a_definition() -> None:
    integration = load(
        """
        integration: orders
        version: 1.0
        description: What it does
        x-shared: &again {attempts: 4}
        config:
          url: string
          limit: {type: number, default: 0, choices: [0, 1.5], description: How many}
          maybe: {type: object, required: false}
        connections:
          erp: http
          files: {connector: dropbox, type: token, description: The folder}
        code: {dependencies: package-lock.json}
        flows:
          main:
            description: The one
            timeout: 1h30m
            steps:
              - {id: a, stop: , retry: *again}
        """
    )

    assert (integration.name, integration.version, integration.description) == ("orders", "1.0", "What it does")
    assert integration.config == {
        "url": ConfigVariable(name="url"),
        "limit": ConfigVariable(
            name="limit",
            type=ConfigType.NUMBER,
            default=0,
            choices=(0, 1.5),
            required=False,
            description="How many",
        ),
        "maybe": ConfigVariable(name="maybe", type=ConfigType.OBJECT, required=False),
    }
    assert integration.connections == {
        "erp": ConnectionSlot(name="erp", connector="http"),
        "files": ConnectionSlot(name="files", connector="dropbox", type="token", description="The folder"),
    }
    assert integration.code.dependencies == "package-lock.json"
    flow = integration.flows["main"]
    assert (flow.description, flow.timeout_s, flow.trigger) == ("The one", 5400.0, Trigger(type="call"))
    assert flow.position == Position(file="integration.yaml", line=15, column=3)
    assert flow.steps == (StopStep(id="a", retry=Retry(attempts=4)),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("webhook", Trigger(type="webhook")),
        ("{webhook: {}}", Trigger(type="webhook")),
        ("{webhook: }", Trigger(type="webhook")),
        ("{call: {}}", Trigger(type="call")),
        (
            "{schedule: {cron: '0 6 * * *', timezone: Europe/Berlin}}",
            Trigger(type="schedule", options={"cron": "0 6 * * *", "timezone": "Europe/Berlin"}),
        ),
        ("{schedule: {every: 5m}}", Trigger(type="schedule", options={"every": 300.0})),
        ("{schedule: 5m}", Trigger(type="schedule", options={"every": 300.0})),
        ("{schedule: 0 6 * * *}", Trigger(type="schedule", options={"cron": "0 6 * * *"})),
        (
            "{box.changed: {connection: c, with: {path: /a}}}",
            Trigger(type="box.changed", connection="c", options={"path": "/a"}),
        ),
        ("{box.changed: , connection: c}", Trigger(type="box.changed", connection="c")),
        ("box.changed", Trigger(type="box.changed")),
    ],
)
def test_triggers(text: str, expected: Trigger) -> None:
    assert trigger(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("action: http.request", ActionStep(id="a", action="http.request")),
        (
            "action: http.request\nconnection: erp\nwith: {url: x, n: 1}",
            ActionStep(id="a", action="http.request", connection="erp", inputs={"url": "x", "n": 1}),
        ),
        ("code: lib/parse.mjs", CodeStep(id="a", file="lib/parse.mjs")),
        ("code: 'export default () => 1'", CodeStep(id="a", source="export default () => 1")),
        ("code: |-\n  export default x.js", CodeStep(id="a", source="export default x.js")),
        ("code: {file: my file.js}\nwith: {a: 1}", CodeStep(id="a", file="my file.js", inputs={"a": 1})),
        ("code: {source: 'globalThis.x = 1'}", CodeStep(id="a", source="globalThis.x = 1")),
        ("code: lib/parse.py", CodeStep(id="a", file="lib/parse.py")),
        ("code: {language: python, source: x = 1}", CodeStep(id="a", source="x = 1", language="python")),
        (
            "branch:\n  - when: config.x\n    steps: [{id: b, stop: }]\n  - else: [{id: c, stop: }]",
            BranchStep(id="a", arms=(BranchArm(when="config.x", steps=INNER), BranchArm(steps=(StopStep(id="c"),)))),
        ),
        (
            "branch: [{when: true, steps: [{id: b, stop: }]}]\nelse: [{id: c, stop: }]",
            BranchStep(id="a", arms=(BranchArm(when="true", steps=INNER), BranchArm(steps=(StopStep(id="c"),)))),
        ),
        (
            "branch: {when: x, steps: [{id: b, stop: }], else: {steps: [{id: c, stop: }]}}",
            BranchStep(id="a", arms=(BranchArm(when="x", steps=INNER), BranchArm(steps=(StopStep(id="c"),)))),
        ),
        (
            "loop:\n  over: ${{ x }}\n  as: order\n  concurrency: 5\n  collect: ${{ order }}\n  steps: [{id: b, stop: }]",
            LoopStep(id="a", over="${{ x }}", item_name="order", concurrency=5, collect="${{ order }}", steps=INNER),
        ),
        ("loop: ${{ x }}\nsteps: [{id: b, stop: }]", LoopStep(id="a", over="${{ x }}", steps=INNER)),
        ("loop: [1, 2]\nsteps: [{id: b, stop: }]", LoopStep(id="a", over=[1, 2], steps=INNER)),
        (
            "loop: {over: [1]}\nas: n\nsteps: [{id: b, stop: }]",
            LoopStep(id="a", over=[1], item_name="n", steps=INNER),
        ),
        (
            "loop: {while: steps.b.more, limit: 10, steps: [{id: b, stop: }]}",
            LoopStep(id="a", condition="steps.b.more", limit=10, steps=INNER),
        ),
        (
            "parallel: {left: [{id: b, stop: }], right: {steps: [{id: c, stop: }]}}",
            ParallelStep(id="a", arms={"left": INNER, "right": (StopStep(id="c"),)}),
        ),
        ("call: other", CallStep(id="a", flow="other")),
        ("call: other\nwith: ${{ steps.x }}", CallStep(id="a", flow="other", inputs="${{ steps.x }}")),
        ("call: {flow: other, with: [1]}", CallStep(id="a", flow="other", inputs=[1])),
        ("wait: 5m", WaitStep(id="a", duration="5m")),
        ("wait: 30", WaitStep(id="a", duration=30)),
        ("wait: {for: '${{ config.pause }}'}", WaitStep(id="a", duration="${{ config.pause }}")),
        ("wait: {until: 2026-12-24T18:00:00Z}", WaitStep(id="a", until="2026-12-24T18:00:00Z")),
        ("wait: {callback: true}\ntimeout: 1h", WaitStep(id="a", callback=True, timeout_s=3600.0)),
        ("wait: {callback: {timeout: 1h}}", WaitStep(id="a", callback=True, timeout_s=3600.0)),
        ("wait: {callback: , timeout: 60}", WaitStep(id="a", callback=True, timeout_s=60.0)),
        ("stop:", StopStep(id="a")),
        ("stop: {output: {n: 1}}", StopStep(id="a", output={"n": 1})),
        ("stop: {}\noutput: 5", StopStep(id="a", output=5)),
        ("stop: {error: 'no ${{ config.x }}'}", StopStep(id="a", error="no ${{ config.x }}")),
    ],
)
def test_kinds_of_steps(text: str, expected: Step) -> None:
    assert step(text) == expected


@pytest.mark.parametrize(
    ("other", "canonical"),
    [
        ("code: {inline: 'export default 1'}", "code: {source: 'export default 1'}"),
        ("loop: {while: x, max: 5, steps: [B]}", "loop: {while: x, limit: 5, steps: [B]}"),
        ("loop: {while: x, bound: 5, steps: [B]}", "loop: {while: x, limit: 5, steps: [B]}"),
        ("loop: {while: x, steps: [B]}\nmax_iterations: 5", "loop: {while: x, limit: 5, steps: [B]}"),
        ("branch: [{when: x, steps: [B]}, {else: true, steps: [C]}]", "branch: [{when: x, steps: [B]}, {else: [C]}]"),
        ("branch: [{when: x, steps: [B]}, {else: , steps: [C]}]", "branch: [{when: x, steps: [B]}, {else: [C]}]"),
        ("branch: [{when: x, steps: [B]}]\nelse: {steps: [C]}", "branch: [{when: x, steps: [B]}, {else: [C]}]"),
        ("branch: {arms: [{when: x, steps: [B]}], else: [C]}", "branch: [{when: x, steps: [B]}, {else: [C]}]"),
        ("parallel: {arms: {l: [B], r: {steps: [C]}}}", "parallel: {l: [B], r: [C]}"),
        ("parallel: [{name: l, steps: [B]}, {name: r, steps: [C]}]", "parallel: {l: [B], r: [C]}"),
        ("wait: {callback: 1h}", "wait: {callback: {timeout: 1h}}"),
        ("stop:\non_error: {steps: [B]}", "stop:\non_error: [B]"),
        ("stop:\nretry: {jitter: true}", "stop:\nretry: {}"),
        ("stop:\nretry: {jitter: false}", "stop:\nretry: {jitter: 0}"),
        ("stop:\nretry: {errors: [503, 5xx, timeout]}", "stop:\nretry: {errors: [http_503, http_5xx, timeout]}"),
    ],
)
def test_other_spellings_mean_the_same(other: str, canonical: str) -> None:
    def written(text: str) -> Step:
        return step(text.replace("B]", "{id: b, stop: }]").replace("C]", "{id: c, stop: }]"))

    assert written(other) == written(canonical)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("when: ${{ config.x }}", StopStep(id="a", when="${{ config.x }}")),
        ("when: false", StopStep(id="a", when="false")),
        ("retry: 3", StopStep(id="a", retry=Retry(attempts=3))),
        (
            "retry: {attempts: 5, delay: 500ms, backoff: linear, max_delay: 1m, jitter: 0.5, errors: [timeout, http_5xx]}",
            StopStep(
                id="a",
                retry=Retry(
                    attempts=5,
                    delay_s=0.5,
                    backoff=Backoff.LINEAR,
                    max_delay_s=60.0,
                    jitter=0.5,
                    errors=("timeout", "http_5xx"),
                ),
            ),
        ),
        ("retry: {errors: timeout}", StopStep(id="a", retry=Retry(errors=("timeout",)))),
        ("timeout: 250ms", StopStep(id="a", timeout_s=0.25)),
        ("timeout: 1.5", StopStep(id="a", timeout_s=1.5)),
        ("on_error: continue", StopStep(id="a", on_error="continue")),
        ("on_error: [{id: b, stop: }]", StopStep(id="a", on_error=INNER)),
        ("on_crash: park", StopStep(id="a", on_crash=OnCrash.PARK)),
        ("description: Why", StopStep(id="a", description="Why")),
    ],
)
def test_what_every_step_takes(text: str, expected: Step) -> None:
    assert step(f"stop:\n{text}") == expected


def test_inline_code_knows_where_its_first_line_stands() -> None:
    found = step("code: |\n  // first\n  export default 1")

    assert isinstance(found, CodeStep)
    assert found.source_position == Position(file="integration.yaml", line=7, column=11)


BAD = """\
integration: 1x y
verion: 1
config: {a: nubmer, b: {type: strng, chioces: []}}
conections: {}
flows:
  f:
    trigger: {webhok: {}}
    timeout: 5x
    steps:
      - id: a
        if: x
        action: foo
      - id: b
        actoin: x.y
      - {id: c, action: a.b, code: x.js}
      - {id: d, code: hello}
      - {id: e, loop: {as: 3}}
      - {id: l, retry: {attempts: lots, jitter: 3, backoff: expo}, on_error: continu, stop: {}}
      - {id: m, parallel: {left: []}}
      - {when: x, stop: }
"""


def test_all_problems_are_found_at_once_each_with_its_place_and_the_nearest_name() -> None:
    found = {(problem.line, problem.column): f"{problem.message} ({problem.hint})" for problem in problems(BAD)}

    for place, text in {
        (1, 14): "cannot be a name",
        (2, 1): "did you mean 'version'",
        (3, 13): "did you mean 'number'",
        (3, 31): "did you mean 'string'",
        (3, 38): "did you mean 'choices'",
        (4, 1): "did you mean 'connections'",
        (7, 15): "did you mean 'webhook'",
        (8, 14): "'5x' is not a duration",
        (11, 9): "it is called 'when' here",
        (12, 17): "write connector.action",
        (14, 9): "did you mean 'action'",
        (15, 30): "this one has 'action' and 'code'",
        (16, 23): "neither a file nor a module",
        (17, 23): "`loop` needs `steps`",
        (17, 28): "'3' cannot be a name",
        (18, 35): "must be a whole number, not 'lots'",
        (18, 49): "must be from 0 to 1, not 3",
        (18, 61): "there are constant, linear, exponential",
        (18, 78): "did you mean 'continue'",
        (19, 34): "at least one step is needed",
        (20, 9): "a step needs `id`",
    }.items():
        assert text in found.get(place, ""), f"{place}: {found.get(place)}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "an integration is a mapping"),
        ("just text", "an integration is a mapping"),
        ("integration: x", "needs `flows`"),
        ("integration: x\nflows: {}", "at least one flow"),
        ("integration: x\nflows:", "at least one flow"),
        ("integration: x\nflows: {a: }", "a flow is a mapping"),
        ("integration: x\nflows: {a: {steps: }}", "`steps` is a list"),
        ("integration: x\nflows: {a: {steps: []}}", "at least one step"),
        ("integration: x\nflows: {a: {steps: [1]}}", "a step is a mapping"),
        ("integration: x\nflows: {a: {steps: [{id: a}]}}", "a step needs one of action, code"),
        ("integration: x\nflows: {a/b: {steps: [{id: a, stop: }]}}", "cannot be the name of a flow"),
        ("integration:\nflows: {a: {steps: [{id: a, stop: }]}}", "`integration` is empty"),
    ],
)
def test_what_is_not_a_definition_is_told_plainly(text: str, message: str) -> None:
    assert any(message in problem.message for problem in problems(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wait: {callback: true, timeout: 1h}\ntimeout: 2h", "stands in `wait` and beside it"),
        ("branch: [{else: [{id: b, stop: }]}, {when: x, steps: [{id: c, stop: }]}]", "`else` must be the last"),
        ("branch: [{when: x, steps: [{id: b, stop: }]}, {else: [{id: c, stop: }]}]\nelse: [{id: d, stop: }]", "twice"),
        ("branch: [{steps: [{id: b, stop: }]}]", "needs `when`"),
        ("branch: {}", "a list of arms"),
        ("branch: [x]", "an arm of a branch is a mapping"),
        ("parallel: [[{id: b, stop: }]]", "a mapping with `name` and `steps`"),
        ("loop: {over: [1]}", "`loop` needs `steps`"),
        ("loop: {over: [1], over_: 1, steps: [{id: b, stop: }]}", "no key 'over_'"),
        ("call:", "`call` needs `flow`"),
        ("wait: soon", "is not a duration"),
        ("wait: {callback: maybe}", "is not a duration"),
        ("stop: 5", "`stop` is a mapping"),
        ("code: {file: a.js, source: x}", "one of them"),
        ("code: module.exports = 1", "neither a file nor a module"),
        ("code: ", "neither a file nor a module"),
        ("code: |\n  def main(input, context):\n    return 1", "looks like Python"),
        ("code: {language: perl, source: x}", "`language` cannot be 'perl'"),
        ("code: {inline: x, source: y}", "`source` says the same as `inline`"),
        ("branch: [{when: x, steps: [{id: b, stop: }]}, {else: false, steps: []}]", "`else` arm has no key 'steps'"),
        ("branch: {arms: [{when: x, steps: [{id: b, stop: }]}], cases: 1}", "`branch` has no key 'cases'"),
        ("branch: {arms: [{else: [{id: b, stop: }]}], else: [{id: c, stop: }]}", "`else` twice"),
        ("parallel: [{name: 1 2, steps: [{id: b, stop: }]}]", "cannot be a name"),
        (
            "parallel: [{name: l, steps: [{id: b, stop: }]}, {name: l, steps: [{id: c, stop: }]}]",
            "two arms called 'l'",
        ),
        ("parallel: [{name: l}]", "a mapping with `name` and `steps`"),
        ("stop:\nwhen:", "`when` is empty"),
        ("stop:\ntimeout: -1", "not negative"),
        ("stop:\nretry: {attempts: 0}", "from 1 to 1000"),
        ("stop:\nretry: {attempts: true}", "a whole number"),
        ("stop:\non_error: [", "not YAML"),
    ],
)
def test_a_step_that_does_not_hold_is_refused(text: str, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        step(text)


@pytest.mark.parametrize("shape", ["[" * 90 + "]" * 90, "{a: " * 90 + "}" * 90])
def test_deep_data_is_carried_through(shape: str) -> None:
    found = step(f"stop: {{output: {shape}}}")

    integration = Integration(
        name="x", flows=load_yaml_text("integration: x\nflows: {a: {steps: [{id: a, stop: }]}}").flows
    )
    assert isinstance(found, StopStep)
    assert parse(dump(integration)) == integration


def test_any_value_in_place_of_any_other_is_refused_without_breaking(orders: Path) -> None:
    lines = orders.joinpath("integration.yaml").read_text().splitlines()
    for number, line in enumerate(lines):
        if ":" not in line or "#" in line:
            continue
        for wrong in ("", "[]", "{}", "5", "true", "[[1]]", "{a: {b: 1}}"):
            changed = [*lines[:number], f"{line.split(':')[0]}: {wrong}", *lines[number + 1 :]]
            try:
                load_yaml_text("\n".join(changed))
            except DefinitionError as error:
                assert all(problem.line for problem in error.problems)  # noqa: PT017 - either outcome is right


def test_the_integration_of_the_story_loads_as_it_stands(orders: Path) -> None:
    integration = load_yaml_text((orders / "integration.yaml").read_bytes())

    assert [step.id for step in integration.flows["sync-orders"].steps] == [
        "fetch",
        "parse",
        "large",
        "batch",
        "post",
        "result",
    ]
    assert parse(dump(integration)) == integration
