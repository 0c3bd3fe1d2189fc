"""What each kind of step does, in one process."""

from __future__ import annotations

from typing import Any

import pytest
from turnout.connectors import StepError
from turnout.engine.outcome import Finished
from turnout.model.events import Attempted, Ended, StepEnded
from turnout.model.execution import Status, StepStatus

from core.tests.engine.laboratory import Laboratory


def flow(steps: str, more: str = "") -> str:
    return (
        f"integration: i\nversion: 1.0.0\n{more}flows:\n  main:\n    trigger: {{webhook: {{}}}}\n    steps:\n"
        + "".join(f"      {line}\n" for line in steps.strip("\n").splitlines())
    )


async def output(lab: Laboratory, steps: str, body: Any = None) -> Any:
    finished = await lab.run(flow(steps), body)
    assert finished.status is Status.SUCCEEDED, finished.error
    return None if finished.output is None else finished.output.load()


async def test_an_action_gets_its_inputs_and_later_steps_its_output(lab: Laboratory) -> None:
    steps = """
- {id: look, action: world.look, with: {value: "${{ trigger.body.n }}"}}
- {id: done, stop: {output: "${{ steps.look.value }}"}}
"""

    assert await output(lab, steps, {"n": [1, {"deep": None}]}) == [1, {"deep": None}]


async def test_code_gets_its_input_and_returns_what_later_steps_see(lab: Laboratory) -> None:
    steps = """
- id: sum
  code: "export default async ({numbers}) => numbers.reduce((a, b) => a + b, 0)"
  with: {numbers: "${{ trigger.body }}"}
- {id: done, stop: {output: {sum: "${{ steps.sum }}"}}}
"""

    assert await output(lab, steps, [1, 2, 3]) == {"sum": 6}


async def test_the_first_branch_whose_condition_holds_runs_alone(lab: Laboratory) -> None:
    steps = """
- id: which
  branch:
    - when: "${{ trigger.body > `10` }}"
      steps: [{id: large, action: world.note, with: {value: large}}]
    - when: "${{ trigger.body > `5` }}"
      steps: [{id: middle, action: world.note, with: {value: middle}}]
    - else: [{id: small, action: world.note, with: {value: small}}]
- {id: done, stop: {output: ["${{ steps.which }}", "${{ steps.large }}", "${{ steps.middle.value }}"]}}
"""

    assert await output(lab, steps, 7) == [1, None, "middle"]
    assert lab.world.calls == [("note", "middle")]


async def test_a_loop_collects_in_the_order_of_its_items_however_many_run_at_once(lab: Laboratory) -> None:
    steps = """
- id: each
  loop:
    over: "${{ trigger.body }}"
    as: number
    concurrency: 3
    collect: {n: "${{ steps.look.value }}", at: "${{ index }}"}
    steps:
      - {id: look, action: world.look, with: {value: "${{ number }}"}}
- {id: done, stop: {output: "${{ steps.each }}"}}
"""

    assert await output(lab, steps, [5, 6, 7, 8]) == [{"n": n, "at": at} for at, n in enumerate([5, 6, 7, 8])]


async def test_a_loop_without_collect_gives_null_and_an_empty_one_an_empty_list(lab: Laboratory) -> None:
    steps = """
- {id: plain, loop: {over: [1, 2], steps: [{id: a, action: world.note}]}}
- {id: empty, loop: {over: [], collect: "${{ item }}", steps: [{id: b, action: world.note}]}}
- {id: done, stop: {output: ["${{ steps.plain }}", "${{ steps.empty }}"]}}
"""

    assert await output(lab, steps) == [None, []]
    assert lab.world.count("note") == 2


async def test_a_while_loop_ends_when_its_condition_does_and_fails_at_its_limit(lab: Laboratory) -> None:
    steps = """
- id: until
  loop:
    while: "${{ steps.count == `null` || steps.count < `3` }}"
    limit: LIMIT
    steps:
      - id: count
        code: "export default ({n}) => (n ?? 0) + 1"
        with: {n: "${{ steps.count }}"}
- {id: done, stop: {output: ok}}
"""

    assert await output(lab, steps.replace("LIMIT", "10")) == "ok"
    failed = await lab.run(flow(steps.replace("LIMIT", "2")))

    assert (failed.status, failed.error.kind) == (Status.FAILED, "limit")
    assert lab.ended().count("until[2].count") == 1


async def test_parallel_arms_all_run_and_their_outputs_are_seen_after(lab: Laboratory) -> None:
    steps = """
- id: both
  parallel:
    left: [{id: a, action: world.look, with: {value: 1}}]
    right: [{id: b, action: world.look, with: {value: 2}}]
- {id: done, stop: {output: ["${{ steps.a.value }}", "${{ steps.b.value }}"]}}
"""

    assert await output(lab, steps) == [1, 2]
    assert {"both.left.a", "both.right.b"} <= set(lab.ended())


async def test_a_failing_arm_fails_the_step_and_cancels_the_others(lab: Laboratory) -> None:
    lab.world.failures["note"] = [StepError("no", kind="broken")]
    steps = """
- id: both
  parallel:
    left: [{id: a, action: world.note}]
    right: [{id: b, wait: {for: 1h}}, {id: c, action: world.look}]
"""

    failed = await lab.run(flow(steps))

    assert (failed.status, failed.error.step) == (Status.FAILED, "both.left.a")
    assert lab.world.count("look") == 0


async def test_a_call_runs_another_flow_and_gives_its_output(lab: Laboratory) -> None:
    text = (
        flow('- {id: ask, call: {flow: other, with: {x: 2}}}\n- {id: done, stop: {output: "${{ steps.ask }}"}}')
        + """  other:
    steps:
      - {id: look, action: world.look, with: {value: "${{ trigger.body.x }}"}}
      - {id: done, stop: {output: {got: "${{ steps.look.value }}"}}}
"""
    )

    finished = await lab.run(text)

    assert finished.output.load() == {"got": 2}
    children = {execution for execution, _ in lab.events if "-" in execution}
    assert len(children) == 1


async def test_a_failed_sub_execution_fails_the_step_that_called_it(lab: Laboratory) -> None:
    lab.world.failures["look"] = [StepError("gone", kind="http_404", retryable=False)]
    text = flow("- {id: ask, call: {flow: other}}") + "  other:\n    steps:\n      - {id: look, action: world.look}\n"

    failed = await lab.run(text)

    assert (failed.status, failed.error.kind, failed.error.step) == (Status.FAILED, "http_404", "ask")
    assert "'other'" in failed.error.message


async def test_stop_ends_the_flow_from_inside_a_loop(lab: Laboratory) -> None:
    steps = """
- id: each
  loop:
    over: [1, 2, 3]
    steps:
      - {id: look, action: world.look, with: {value: "${{ item }}"}}
      - {id: enough, when: "${{ item == `2` }}", stop: {output: "${{ item }}"}}
- {id: never, action: world.note}
"""

    assert await output(lab, steps) == 2
    assert (lab.world.count("look"), lab.world.count("note")) == (2, 0)


async def test_stop_with_an_error_fails_the_flow(lab: Laboratory) -> None:
    failed = await lab.run(flow('- {id: no, stop: {error: "bad order ${{ trigger.body }}"}}'), 7)

    assert (failed.status, failed.error.kind, failed.error.message) == (Status.FAILED, "stopped", "bad order 7")


async def test_a_step_whose_condition_does_not_hold_is_skipped_and_null(lab: Laboratory) -> None:
    steps = """
- {id: maybe, when: "${{ trigger.body }}", action: world.note}
- {id: done, stop: {output: "${{ steps.maybe }}"}}
"""

    assert await output(lab, steps, {}) is None
    skipped = [event for _, event in lab.events if isinstance(event, StepEnded) and event.path == "maybe"]
    assert [event.status for event in skipped] == [StepStatus.SKIPPED]


async def test_a_retry_tries_again_with_growing_delays_and_the_same_key(lab: Laboratory) -> None:
    lab.world.failures["keyed"] = [StepError("busy", kind="http_503"), StepError("busy", kind="http_503")]
    steps = """
- {id: post, action: world.keyed, with: {value: 1}, retry: {attempts: 3, delay: 2s, jitter: 0}}
"""

    await output(lab, steps)

    tries = [event for _, event in lab.events if isinstance(event, Attempted)]
    assert [round(event.next_at - event.at, 3) for event in tries] == [2.0, 4.0]
    assert len(set(lab.world.keys)) == 1
    assert len(lab.world.keys) == 3


async def test_a_retry_waits_as_long_as_the_other_side_asks(lab: Laboratory) -> None:
    lab.world.failures["look"] = [StepError("slow down", kind="http_429", retry_after_s=7.0)]

    await output(lab, "- {id: a, action: world.look, retry: {attempts: 2, delay: 1s, jitter: 0}}")

    (again,) = [event for _, event in lab.events if isinstance(event, Attempted)]
    assert again.next_at - again.at == pytest.approx(7.0)


@pytest.mark.parametrize(
    ("errors", "kind", "calls"),
    [("[http_5xx]", "http_503", 2), ("[http_5xx]", "http_404", 1), ("[timeout]", "http_503", 1)],
)
async def test_only_the_errors_that_are_named_are_retried(lab: Laboratory, errors: str, kind: str, calls: int) -> None:
    lab.world.failures["look"] = [StepError("no", kind=kind)] * 2

    await lab.run(flow(f"- {{id: a, action: world.look, retry: {{attempts: 2, delay: 1s, errors: {errors}}}}}"))

    assert len(lab.world.keys) == calls


async def test_what_cannot_help_is_not_retried(lab: Laboratory) -> None:
    lab.world.failures["look"] = [StepError("wrong", kind="http_400", retryable=False)]

    failed = await lab.run(flow("- {id: a, action: world.look, retry: 5}"))

    assert (failed.status, len(lab.world.keys)) == (Status.FAILED, 1)


async def test_a_loop_that_is_retried_begins_anew(lab: Laboratory) -> None:
    lab.world.failures["keyed"] = [None, StepError("no", kind="x")]
    steps = """
- id: each
  retry: {attempts: 2, delay: 1s}
  loop: {over: [1, 2], steps: [{id: post, action: world.keyed, with: {value: "${{ item }}"}}]}
"""

    await output(lab, steps)

    assert [value for _, value in lab.world.calls] == [1, 1, 2]


async def test_continue_on_error_goes_on_with_null(lab: Laboratory) -> None:
    lab.world.failures["look"] = [StepError("no", kind="x")]
    steps = """
- {id: a, action: world.look, on_error: continue}
- {id: done, stop: {output: ["${{ steps.a }}", went on]}}
"""

    assert await output(lab, steps) == [None, "went on"]


async def test_steps_on_error_see_what_happened(lab: Laboratory) -> None:
    lab.world.failures["look"] = [StepError("gone", kind="http_404")]
    steps = """
- id: a
  action: world.look
  on_error:
    - {id: tell, action: world.note, with: {value: "${{ error.kind }} in ${{ error.step }}: ${{ error.message }}"}}
- {id: done, stop: {output: "${{ steps.tell.value }}"}}
"""

    assert await output(lab, steps) == "http_404 in a: gone"


async def test_a_step_that_takes_too_long_fails_with_its_time_out(lab: Laboratory) -> None:
    steps = "- {id: slow, code: 'export default () => new Promise(() => setInterval(() => {}, 1000))', timeout: 200ms}"

    failed = await lab.run(flow(steps))

    assert (failed.status, failed.error.kind, failed.error.step) == (Status.FAILED, "timeout", "slow")


async def test_code_that_never_yields_is_stopped_by_its_time_out(lab: Laboratory) -> None:
    failed = await lab.run(flow("- {id: spin, code: 'export default () => { for (;;); }', timeout: 300ms}"))

    assert (failed.status, failed.error.kind) == (Status.FAILED, "timeout")


async def test_an_error_of_code_has_the_customers_own_line(lab: Laboratory) -> None:
    files = {"parse.js": "export default function parse() {\n  return missing.thing;\n}\n"}

    failed = await lab.run(flow("- {id: parse, code: parse.js}"), files=files)

    assert (failed.error.kind, failed.error.message) == ("ReferenceError", "missing is not defined")
    assert "parse.js:2" in failed.error.stack


async def test_wrong_inputs_are_named_and_not_shown(lab: Laboratory) -> None:
    failed = await lab.run(flow("- {id: a, action: world.look, with: {valeu: hidden-text}}"))

    assert failed.error.kind == "input"
    assert "valeu" in failed.error.message
    assert "hidden-text" not in failed.error.message


async def test_a_bug_in_a_connector_fails_the_step_and_nothing_else(lab: Laboratory) -> None:
    lab.world.failures["look"] = [ZeroDivisionError("oops")]

    failed = await lab.run(flow("- {id: a, action: world.look}"))

    assert isinstance(failed, Finished)
    assert failed.error is not None
    assert (failed.status, failed.error.kind) == (Status.FAILED, "ZeroDivisionError")


async def test_the_end_is_reported_last_and_once(lab: Laboratory) -> None:
    await lab.run(flow("- {id: a, action: world.note}"))

    ends = [index for index, (_, event) in enumerate(lab.events) if isinstance(event, Ended)]
    assert ends == [len(lab.events) - 1]
