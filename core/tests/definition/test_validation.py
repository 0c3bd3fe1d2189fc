"""What `validate` finds: each fault with file, line, column and the nearest right name, and nothing in what is sound."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from turnout.definition import load_integration, validate
from turnout.errors import Problem
from turnout.interfaces.connector import Connector

Check = Callable[..., list[Problem]]


@pytest.fixture
def check(orders: Path, connectors: Mapping[str, Connector], monkeypatch: pytest.MonkeyPatch) -> Check:
    """The problems of the story's integration after replacements in its text."""
    monkeypatch.chdir(orders)

    def run(*replacements: tuple[str, str]) -> list[Problem]:
        file = orders / "integration.yaml"
        text = file.read_text()
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new, 1)
        file.write_text(text)
        return validate(load_integration(orders), connectors)

    return run


@pytest.fixture
def check_steps(orders: Path, connectors: Mapping[str, Connector], monkeypatch: pytest.MonkeyPatch) -> Check:
    """The problems of a flow of these steps, which begin in line 5."""
    monkeypatch.chdir(orders)

    def run(steps: str, extra: str = "") -> list[Problem]:
        text = f"integration: x\nflows:\n  main:\n    steps:\n{steps}\n{extra}"
        (orders / "integration.yaml").write_text(text)
        return validate(load_integration(orders), connectors)

    return run


def test_the_integration_of_the_story_is_sound(check: Check) -> None:
    assert check() == []


@pytest.mark.parametrize(
    ("old", "new", "place", "message", "hint"),
    [
        ("steps.fetch.text", "steps.fetc.text", "29:26", "there is no step 'fetc'", "did you mean 'fetch'?"),
        ("steps.fetch.text", "steps.fetch.txt", "29:26", "no field 'txt'", "did you mean 'text'?"),
        ("steps.fetch.text", "steps.large", "29:26", "step 'large' has not run", "earlier"),
        ("steps.fetch.text", "steps.parse.x", "29:26", "refers to its own output", "afterwards"),
        ("steps.fetch.text", "step.fetch.text", "29:26", "nothing is called 'step'", "did you mean 'steps'?"),
        ("steps.fetch.text", "fetch.text", "29:26", "nothing is called 'fetch'", "write steps.fetch"),
        ("steps.fetch.text", "minimum_total", "29:26", "nothing is called 'minimum_total'", "write config.minimum"),
        ("steps.fetch.text", "item.text", "29:26", "nothing is called 'item'", "only the steps of a loop"),
        ("steps.fetch.text", "error.text", "29:26", "nothing is called 'error'", "on_error"),
        ("steps.fetch.text", "connections.erp", "29:26", "nothing is called 'connections'", "cannot be read"),
        ("steps.fetch.text", "lenght(steps.fetch)", "", "unknown function 'lenght'", "did you mean 'length'?"),
        ("steps.fetch.text", "steps.fetch.", "", "step 'parse'", ""),
        ("steps.batch.value", "steps.batch.valeu", "47:30", "no field 'valeu'", "did you mean 'value'?"),
        ("config.erp_url", "config.erp_uri", "46:21", "no config variable 'erp_uri'", "did you mean 'erp_url'?"),
        ("steps.post.json", "steps.post.jsn", "51:77", "no field 'jsn'", "did you mean 'json'?"),
        ("dropbox.download", "dropbox.donwload", "23:17", "no action 'donwload'", "did you mean 'download'?"),
        ("dropbox.download", "dropbx.download", "23:17", "no connector 'dropbx'", "did you mean 'dropbox'?"),
        ("connector: dropbox", "connector: dropbx", "11:22", "no connector 'dropbx'", "did you mean 'dropbox'?"),
        ("type: bearer", "type: bearr", "12:32", "no connection type 'bearr'", "did you mean 'bearer'?"),
        ("connection: erp", "connection: epr", "43:21", "no connection 'epr'", "did you mean 'erp'?"),
        ("connection: erp", "connection: files", "43:21", "'files' is for dropbox, not for http", "erp"),
        ("        connection: files\n", "", "23:17", "dropbox needs a connection", "files"),
        ("with: {path: /orders.xml}", "with: {pth: /x}", "25:16", "no input 'pth'", "did you mean 'path'?"),
        ("with: {path: /orders.xml}", "with: {}", "25:9", "needs the input 'path'", ""),
        ("with: {path: /orders.xml}", "with: {path: 5}", "25:22", "input 'path'", ""),
        ("with: {path: /orders.xml}", "with: {path: ''}", "25:22", "input 'path'", ""),
        ("with: {path: /orders.xml}", "with: {path: /a, limit: lots}", "25:33", "input 'limit'", ""),
        ("with: {path: /orders.xml}", "with: [1]", "25:", "a mapping by name", ""),
        ("id: large", "id: parse", "31:13", "two steps with the id 'parse'", "line 27"),
        ("code: parse.js", "code: parze.js", "28:15", "no file 'parze.js'", "did you mean 'parse.js'?"),
        ("code: parse.js", "code: ../parse.js", "28:15", "leaves the integration's directory", "relative"),
        ("code: parse.js", "code: /etc/parse.js", "28:15", "leaves the integration's directory", "relative"),
        ("code: parse.js", "code: parse.ts", "28:15", "not an ES module", ".py"),
        ("code: parse.js", "code: {file: parse.js, language: python}", "28:42", "not a file in python", "the suffix"),
        ("code: parse.js", "code: parse.py", "28:15", "no file 'parse.py'", ""),
        ("package-lock.json ", "package-lok.json ", "15:17", "no file", "did you mean 'package-lock.json'?"),
        ("default: 100", "default: lots", "8:42", "default 'lots' is not of type number", ""),
        ("default: 100", "default: 100, choices: [1, 2]", "8:42", "not among its choices", ""),
        ("default: 100", "default: 1, choices: [1, x]", "8:58", "choice 'x' is not of type", ""),
        ("{webhook: {}}", "{schedule: {cron: '61 * * * *'}}", "19:", "'61' is not a minute", "0 6 * * 1-5"),
        ("{webhook: {}}", "{schedule: {cron: '* * *'}}", "19:", "five fields", ""),
        ("{webhook: {}}", "{schedule: {every: 0}}", "19:", "a second or longer", ""),
        ("{webhook: {}}", "{schedule: {every: 999999d}}", "19:", "at most 366 days", ""),
        (
            "{webhook: {}}",
            "{schedule: {cron: '0 6 * * *', timezone: Europe/Berln}}",
            "19:",
            "no time zone",
            "did you mean 'Europe/Berlin'?",
        ),
        ("{webhook: {}}", "{dropbox.chnged: {connection: files}}", "19:", "no trigger 'chnged'", "'changed'"),
        ("{webhook: {}}", "{dropbox.changed: {connection: files}}", "19:", "needs the input 'path'", ""),
        ("{webhook: {}}", "{dropbox.changed: {with: {path: /}}}", "19:", "needs a connection", "files"),
        ("{webhook: {}}", "{nobody.changed: {}}", "19:", "no connector 'nobody'", ""),
        ("attempts: 5, delay: 1s", "attempts: 5, delay: 1h", "48:37", "longer than `max_delay`", ""),
        ("timeout: 5m", "timeout: 0", "20:14", "longer than nothing", ""),
    ],
)
def test_one_fault_is_one_problem(check: Check, old: str, new: str, place: str, message: str, hint: str) -> None:
    problems = [problem for problem in check((old, new)) if problem.severity == "error"]

    matching = [problem for problem in problems if message in problem.message]
    assert matching, problems
    assert hint in matching[0].hint
    assert matching[0].file == "integration.yaml"
    assert f"{matching[0].line}:{matching[0].column}".startswith(place)


def test_an_unused_connection_is_an_error_and_an_unread_config_variable_a_warning(check: Check) -> None:
    problems = check(
        ("  erp: {connector: http, type: bearer}\n", "  erp: {connector: http}\n  other: {connector: http}\n"),
        ("${{ config.minimum_total }}", "100"),
    )

    assert [(problem.message, problem.severity) for problem in problems] == [
        ("config variable 'minimum_total' is read by no expression", "warning"),
        ("connection 'other' is used by no step", "error"),
    ]
    assert (problems[1].line, problems[1].column) == (13, 3)


def test_all_faults_are_told_at_once_in_the_order_of_the_file(check: Check) -> None:
    problems = check(
        ("steps.fetch.text", "steps.fetc.text"), ("code: parse.js", "code: no.js"), ("state.increment", "state.incr")
    )

    assert [problem.line for problem in problems if problem.severity == "error"] == sorted(
        problem.line for problem in problems if problem.severity == "error"
    )
    assert len(problems) >= 3


def test_outputs_are_visible_out_of_branches_arms_and_handlers_but_not_out_of_loops(check_steps: Check) -> None:
    problems = check_steps(
        """\
      - id: size
        branch:
          - when: trigger.big
            steps: [{id: in_branch, action: state.increment, with: {key: a}}]
      - id: both
        parallel: {left: [{id: in_arm, action: state.increment, with: {key: a}}]}
      - id: risky
        action: state.increment
        with: {key: a}
        on_error: [{id: in_handler, code: "export default () => 1", with: {e: "${{ error.message }}"}}]
      - id: each
        loop: {over: "${{ trigger.body }}", as: order, collect: "${{ steps.in_loop.value }}", steps: [
          {id: in_loop, action: state.increment, with: {key: "${{ order.id }}${{ index }}"}}]}
      - id: seen
        stop: {output: ["${{ steps.in_branch }}", "${{ steps.in_arm }}", "${{ steps.in_handler }}", "${{ steps.each }}"]}
      - id: unseen
        stop: {output: "${{ steps.in_loop }} ${{ order }}"}
        when: "true"
"""
    )

    errors = [problem for problem in problems if problem.severity == "error"]
    assert {problem.message for problem in errors} == {
        "step 'unseen': step 'in_loop' is inside the loop 'each' and cannot be seen from here",
        "step 'unseen': nothing is called 'order' here",
    }
    assert "collect" in errors[0].hint + errors[1].hint
    assert {(problem.line, problem.column) for problem in errors} == {(21, 29), (21, 50)}


def test_arms_do_not_see_each_other(check_steps: Check) -> None:
    problems = check_steps(
        """\
      - id: both
        parallel:
          left: [{id: one, action: state.increment, with: {key: a}}]
          right: [{id: two, action: state.increment, with: {key: "${{ steps.one.value }}"}}]
"""
    )

    assert ["has not run" in problem.message for problem in problems] == [True]


def test_rounds_of_a_while_loop_see_the_round_before(check_steps: Check) -> None:
    problems = check_steps(
        """\
      - id: pages
        loop:
          while: steps.next.value != `0`
          limit: 10
          steps:
            - {id: get, action: state.increment, with: {key: "${{ to_string(steps.next.value) }}"}}
            - {id: next, action: state.increment, with: {key: b}}
"""
    )

    assert problems == []


@pytest.mark.parametrize(
    ("step", "message", "severity"),
    [
        ("{id: a, loop: {steps: [{id: b, wait: 1}]}}", "needs `over` or `while`", "error"),
        ("{id: a, loop: {over: [1], while: x, limit: 2, steps: [{id: b, wait: 1}]}}", "one of them", "error"),
        ("{id: a, loop: {while: trigger.x, steps: [{id: b, wait: 1}]}}", "needs a `limit`", "error"),
        ("{id: a, loop: {over: [1], limit: 3, steps: [{id: b, wait: 1}]}}", "`limit` is for `while`", "error"),
        ("{id: a, loop: {over: steps.x, steps: [{id: b, wait: 1}]}}", "`over` must be a list", "error"),
        ("{id: a, loop: {over: [1], as: steps, steps: [{id: b, wait: 1}]}}", "cannot be called 'steps'", "error"),
        ("{id: a, loop: {while: trigger, limit: 2, concurrency: 2, steps: [{id: b, wait: 1}]}}", "one by one", "error"),
        ("{id: a, wait: {}}", "one of them", "error"),
        ("{id: a, wait: {for: 1, until: '2026-01-01T00:00:00Z'}}", "one of them", "error"),
        ("{id: a, wait: {until: tomorrow}}", "ISO 8601", "error"),
        ("{id: a, wait: {until: '2026-01-01T00:00:00'}}", "with its zone", "error"),
        ("{id: a, wait: {callback: true}}", "needs a `timeout`", "warning"),
        ("{id: a, call: nowhere}", "no flow 'nowhere'", "error"),
        ("{id: a, call: main}", "main → main", "error"),
        ("{id: a, stop: {output: 1, error: x}}", "not both", "error"),
        ("{id: a, parallel: {l: [{id: b, stop: }]}}", "others beside it", "warning"),
        ("{id: a, loop: {over: [1], concurrency: 2, steps: [{id: b, stop: }]}}", "others of its loop", "warning"),
        ("{id: a, stop: , when: 'a b'}", "step 'a'", "error"),
        (
            "{id: a, loop: {over: [1], collect: item, steps: [{id: b, wait: 1}]}}",
            "`collect` gives the text 'item'",
            "error",
        ),
        ("{id: a, stop: {output: ['{{ steps.x }}']}}", "'{{ steps.x }}' is plain text here", "warning"),
        ("{id: a, stop: {error: 'no ${trigger.body}'}}", "'${trigger.body}' is plain text here", "warning"),
        ("{id: a, stop: {output: '${{ trigger.body[?a > trigger.body.b] }}'}}", "field 'trigger' of each", "warning"),
        ("{id: a, branch: [{when: stepz.x, steps: [{id: b, wait: 1}]}]}", "'stepz'", "error"),
    ],
)
def test_steps_that_do_not_hold_by_themselves(check_steps: Check, step: str, message: str, severity: str) -> None:
    problems = check_steps(f"      - {step}")

    assert [problem.severity for problem in problems if message in problem.message] == [severity], problems
    assert all(problem.line == 5 for problem in problems)


@pytest.mark.parametrize(
    "output",
    [
        "{{ name }}",
        "$${{ steps.x }} {{{trigger}}}",
        "${{ {a: trigger.body} }}",
        "${{ trigger.body[?config.b].steps.a }}",
    ],
)
def test_what_only_looks_like_a_mistake_is_none(check_steps: Check, output: str) -> None:
    assert check_steps(f"      - {{id: a, stop: {{output: '{output}'}}}}") == []


def test_a_cycle_of_calls_is_drawn_once(check_steps: Check) -> None:
    problems = check_steps(
        "      - {id: a, call: second}",
        "  second: {steps: [{id: b, call: third}]}\n  third: {steps: [{id: c, call: second}]}\n",
    )

    assert [problem.message for problem in problems] == [
        "step 'c': flows call each other in a cycle: second → third → second"
    ]
    assert problems[0].line == 7


def test_a_long_chain_of_calls_is_no_cycle_and_breaks_nothing(check_steps: Check) -> None:
    chain = "".join(f"  f{i}: {{steps: [{{id: a, call: f{i + 1}}}]}}\n" for i in range(3000))

    assert check_steps("      - {id: a, call: f0}", chain + "  f3000: {steps: [{id: a, stop: }]}\n") == []


def test_steps_after_a_stop_are_pointed_out(check_steps: Check) -> None:
    problems = check_steps("      - {id: a, stop: }\n      - {id: b, wait: 1}\n      - {id: c, wait: 1}")

    assert [(problem.line, problem.severity) for problem in problems] == [(6, "warning")]


def test_inputs_from_expressions_are_taken_on_trust_but_their_names_are_not(check_steps: Check) -> None:
    problems = check_steps(
        """\
      - id: a
        action: state.increment
        with: {key: k, by: "${{ trigger.body.n }}", bye: "${{ trigger.body }}"}
      - id: b
        action: state.increment
        with: "${{ trigger.body }}"
"""
    )

    assert [problem.message for problem in problems] == ["step 'a': state.increment has no input 'bye'"]
    assert "'by'" in problems[0].hint


def test_a_link_out_of_the_directory_is_refused(orders: Path, check: Check) -> None:
    outside = orders.parent / "secret.js"
    outside.write_text("export default 1")
    (orders / "parse.js").unlink()
    (orders / "parse.js").symlink_to(outside)

    [problem] = check()

    assert "leaves the integration's directory" in problem.message


def test_a_fault_inside_a_block_of_text_is_found_on_its_line(check_steps: Check) -> None:
    problems = check_steps(
        """\
      - id: a
        stop:
          output: |
            first line
            then ${{ steps.nobody }} here
"""
    )

    assert [(problem.line, problem.column) for problem in problems] == [(9, 22)]


def test_thousands_of_faults_are_not_all_told(check_steps: Check) -> None:
    steps = "".join(
        f"      - {{id: s{i}, stop: {{output: '${{{{ steps.t{i} }}}}'}}, when: trigger}}\n" for i in range(3000)
    )

    problems = check_steps(steps)

    assert len(problems) == 200
    assert problems[199].line == 204
