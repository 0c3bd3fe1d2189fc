"""The JSON Schema: what loads passes it, what has a fault of form does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from turnout.definition import dump, json_schema, parse
from turnout.definition.grammar import INTEGRATION, KINDS, STEP
from turnout.definition.loader import load_yaml_text
from turnout.definition.nodes import plain
from turnout.definition.yaml_source import read_text
from turnout.errors import DefinitionError

VALIDATOR = Draft202012Validator(json_schema())
STEP_TEXT = "integration: x\nflows: {a: {steps: [{id: a, STEP}]}}\n"
TRIGGER_TEXT = "integration: x\nflows: {a: {trigger: TRIGGER, steps: [{id: a, stop: }]}}\n"
INNER = "[{id: b, stop: }]"

GOOD_STEPS = [
    "action: a.b",
    "action: a.b, connection: c, with: {x: 1}",
    "code: x.js",
    "code: {file: x.js}, with: '${{ x }}'",
    "code: {source: export default 1}",
    f"branch: [{{when: x, steps: {INNER}}}, {{else: {INNER}}}]",
    f"branch: [{{when: true, steps: {INNER}}}], else: {INNER}",
    f"branch: {{when: x, steps: {INNER}, else: {{steps: {INNER}}}}}",
    f"loop: {{over: [1], as: n, concurrency: 2, collect: 1, steps: {INNER}}}",
    f"loop: {{while: x, limit: 5, steps: {INNER}}}",
    f"loop: '${{{{ x }}}}', steps: {INNER}",
    f"loop: [1], steps: {INNER}",
    f"parallel: {{l: {INNER}, r: {{steps: {INNER}}}}}",
    "call: b",
    "call: {flow: b, with: 1}",
    "wait: 5m",
    "wait: 5",
    "wait: {for: '${{ x }}'}",
    "wait: {until: 2026-01-01T00:00:00Z}",
    "wait: {callback: true}, timeout: 1h",
    "wait: {callback: {timeout: 1h}}",
    "stop: ",
    "stop: {output: [1]}",
    "stop: {error: x}",
    "stop: , output: 5",
    "stop: , when: x, retry: 3, timeout: 1.5, on_error: continue, on_crash: park, description: d",
    "stop: , retry: {attempts: 2, delay: 1s, backoff: linear, max_delay: 5, jitter: 0, errors: timeout}",
    f"stop: , on_error: {INNER}",
    f"stop: , on_error: {{steps: {INNER}}}",
    "stop: , retry: {jitter: true, errors: [503, 5xx]}",
    "code: {inline: export default 1}",
    f"loop: {{while: x, bound: 5, steps: {INNER}}}",
    f"loop: {{while: x, steps: {INNER}}}, max: 5",
    f"branch: [{{when: x, steps: {INNER}}}, {{else: true, steps: {INNER}}}]",
    f"branch: [{{when: x, steps: {INNER}}}, {{else: , steps: {INNER}}}]",
    f"branch: {{arms: [{{when: x, steps: {INNER}}}], else: {INNER}}}",
    f"parallel: {{arms: {{l: {INNER}, r: {{steps: {INNER}}}}}}}",
    f"parallel: [{{name: l, steps: {INNER}}}]",
    "wait: {callback: 1h}",
]

BAD_STEPS = [
    "",
    "with: {x: 1}",
    "action: a.b, code: x.js",
    "actoin: a.b",
    "action: a.b, if: x",
    "action: [a.b]",
    "branch: []",
    "branch: {}",
    f"branch: [{{steps: {INNER}}}]",
    "branch: [{when: x}]",
    "branch: [{when: x, then: 1}]",
    "loop: {over: [1]}",
    f"loop: {{over: [1], concurrency: 0, steps: {INNER}}}",
    f"loop: {{over: [1], concurrency: many, steps: {INNER}}}",
    f"loop: {{over: [1], as: 1x, steps: {INNER}}}",
    "loop: {over: [1], steps: []}",
    f"parallel: [{INNER}]",
    "parallel: {}",
    "parallel: {l: []}",
    "call: ",
    "call: {with: 1}",
    "wait: soon",
    "wait: {callback: maybe}",
    "stop: 5",
    "stop: {outptu: 1}",
    "stop: , when: ",
    "stop: , timeout: 5x",
    "stop: , timeout: -1",
    "stop: , retry: 0",
    "stop: , retry: lots",
    "stop: , retry: {backoff: expo}",
    "stop: , retry: {jitter: 2}",
    "stop: , on_error: ignore",
    "stop: , on_error: []",
    "stop: , on_crash: explode",
]

GOOD_TRIGGERS = [
    "webhook",
    "{webhook: {}}",
    "{webhook: }",
    "{call: }",
    "{schedule: {cron: 0 6 * * *, timezone: UTC}}",
    "{schedule: 5m}",
    "box.changed",
    "{box.changed: }",
    "{box.changed: {connection: c, with: {a: 1}}}",
    "{box.changed: , connection: c}",
]
BAD_TRIGGERS = [
    "webhok",
    "{}",
    "{webhok: {}}",
    "[webhook]",
    "{schedule: {}}",
    "{schedule: }",
    "{schedule: {cron: x, every: 5m}}",
    "{schedule: {corn: x}}",
    "{box.changed: {conection: c}}",
    "{call: {x: 1}}",
    "{webhook: {x: 1}}",
    "{webhook: {}, call: {}}",
]

GOOD_TOPS = [
    "version: 1.0\ndescription:\nx-anchors: {a: [1]}",
    "config: {a: string, b: {type: number, default: 1, required: true, choices: [1]}}\nconnections:",
    "connections: {a: http, b: {connector: http, type: bearer}}\ncode: {dependencies: package-lock.json}",
]
BAD_TOPS = [
    "verion: 1",
    "config: {a: nubmer}",
    "config: {a: {typ: number}}",
    "config: [a]",
    "config: {a b: string}",
    "connections: {a: {type: bearer}}",
    "connections: {a: }",
    "code: package-lock.json",
    "version: []",
    "version:",
]


def top(extra: str) -> str:
    return f"integration: x\nflows: {{a: {{steps: [{{id: a, stop: }}]}}}}\n{extra}\n"


GOOD = [
    *(STEP_TEXT.replace("STEP", step) for step in GOOD_STEPS),
    *(TRIGGER_TEXT.replace("TRIGGER", trigger) for trigger in GOOD_TRIGGERS),
    *map(top, GOOD_TOPS),
]
BAD = [
    *(STEP_TEXT.replace("STEP", step) for step in BAD_STEPS),
    *(TRIGGER_TEXT.replace("TRIGGER", trigger) for trigger in BAD_TRIGGERS),
    *map(top, BAD_TOPS),
    "integration: x\n",
    "integration: x\nflows: {}\n",
    "integration: x y\nflows: {a: {steps: [{id: a, stop: }]}}\n",
    "integration: x\nflows: {a: {steps: [{stop: }]}}\n",
    "integration: x\nflows: {a: {steps: [{id: 1x, stop: }]}}\n",
    "integration: x\nflows: {a: {steps: []}}\n",
    "integration: x\nflows: {a: {timeout: 5x, steps: [{id: a, stop: }]}}\n",
    "[]\n",
]


def data_of(text: str) -> Any:
    return plain(read_text(text, name="i.yaml"))


def test_it_is_a_json_schema_and_describes_every_key() -> None:
    schema = json_schema()

    Draft202012Validator.check_schema(schema)
    assert all(schema["properties"][key.name]["description"] for key in INTEGRATION.keys)
    for name in KINDS:
        properties = schema["$defs"][f"{name}-step"]["properties"]
        assert all(properties[key.name]["description"] for key in STEP)
        assert properties[name]["description"]
    assert json.loads(json.dumps(schema)) == schema


@pytest.mark.parametrize("text", GOOD)
def test_what_loads_passes(text: str) -> None:
    load_yaml_text(text)

    assert [error.message for error in VALIDATOR.iter_errors(data_of(text))] == []


@pytest.mark.parametrize("text", BAD)
def test_what_has_a_fault_of_form_passes_neither(text: str) -> None:
    assert not VALIDATOR.is_valid(data_of(text))
    with pytest.raises(DefinitionError):
        load_yaml_text(text)


def test_the_integration_of_the_story_passes(orders: Path) -> None:
    assert VALIDATOR.is_valid(data_of((orders / "integration.yaml").read_text()))


@given(
    st.lists(st.sampled_from(GOOD_STEPS), min_size=1, max_size=5),
    st.sampled_from(GOOD_TRIGGERS),
    st.sampled_from(GOOD_TOPS),
)
def test_any_mixture_loads_passes_and_comes_back_from_its_bytes(steps: list[str], trigger: str, extra: str) -> None:
    listed = ", ".join(f"{{id: s{number}, {step}}}" for number, step in enumerate(steps))
    text = f"integration: x\nflows: {{a: {{trigger: {trigger}, steps: [{listed}]}}}}\n{extra}\n"

    integration = load_yaml_text(text)

    assert VALIDATOR.is_valid(data_of(text))
    assert parse(dump(integration)) == integration
    assert dump(parse(dump(integration))) == dump(integration)


@given(st.sampled_from(GOOD), st.integers(0, 400), st.sampled_from(["", "x", "{", "]", ":", "-", "'", "1", "~"]))
def test_what_passes_neither_breaks_the_loader_nor_gets_by_unseen(text: str, place: int, change: str) -> None:
    changed = text[:place] + change + text[place + 1 :]
    try:
        integration = load_yaml_text(changed)
    except DefinitionError:
        return

    assert parse(dump(integration)) == integration
    assert VALIDATOR.is_valid(data_of(changed)) or "export" in changed
