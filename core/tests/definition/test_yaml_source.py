"""YAML from anybody: plain data, known places, and no text that costs more than a moment."""

from __future__ import annotations

import json
import os
import re
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st
from turnout.definition import yaml_source
from turnout.definition.nodes import ListNode, MapNode, ScalarNode, plain
from turnout.definition.yaml_source import MAX_BYTES, read_file, read_text
from turnout.errors import DefinitionError, Problem
from turnout.model.definition import Position


def load(text: str | bytes) -> object:
    return plain(read_text(text, name="i.yaml"))


def refused(text: str | bytes) -> tuple[Problem, ...]:
    with pytest.raises(DefinitionError) as caught:
        read_text(text, name="i.yaml")
    return caught.value.problems


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True),
        ("False", False),
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("NO", "NO"),
        ("y", "y"),
        ("~", None),
        ("null", None),
        ("", None),
        ("12", 12),
        ("+1", 1),
        ("007", "007"),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("190:20:30", "190:20:30"),
        ("2024-01-01", "2024-01-01"),
        ("2024-01-01T10:00:00Z", "2024-01-01T10:00:00Z"),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.0", 1.0),
        ("1.2.3", "1.2.3"),
        ("'12'", "12"),
        ("!!str 12", "12"),
        ("!!int '12'", 12),
        ("!!float 3", 3),
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ("=", "="),
        ("${{ steps.a }}", "${{ steps.a }}"),
    ],
)
def test_a_plain_scalar_is_what_json_and_people_take_it_for(written: str, value: object) -> None:
    loaded = load(f"a: {written}\n")

    assert loaded == {"a": value}
    assert isinstance(loaded, dict)
    assert type(loaded["a"]) is type(value)


def test_keys_are_text_whatever_they_look_like() -> None:
    assert load("on: 1\n1: 2\nnull: 3\n2024-01-01: 4\n") == {"on": 1, "1": 2, "null": 3, "2024-01-01": 4}


def test_byte_order_mark_and_windows_line_ends_change_nothing() -> None:
    assert load(b"\xef\xbb\xbfa: |\r\n  x\r\n  y\r\nb: 1\r\n") == {"a": "x\ny\n", "b": 1}


def test_every_key_and_value_knows_its_place() -> None:
    root = read_text("a: 1\nb:\n  - x\n  - {c: 'd'}\n", name="i.yaml")

    assert isinstance(root, MapNode)
    assert root.entries["b"].position == Position(file="i.yaml", line=2, column=1)
    items = root.entries["b"].value
    assert isinstance(items, ListNode)
    inner = items.items[1]
    assert isinstance(inner, MapNode)
    assert inner.entries["c"].position == Position(file="i.yaml", line=4, column=6)
    assert inner.entries["c"].value.position == Position(file="i.yaml", line=4, column=9)


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("code: |\n  first\n  second\n", 2, 3),
        ("code: |\n\n    first\n", 2, 1),
        ("code: |4\n      first\n", 2, 5),
        ("code: >-\n  first\n  second\n", 2, 3),
        ("code: 'first'\n", 1, 8),
        ("code: first\n", 1, 7),
    ],
)
def test_a_text_knows_where_its_first_line_stands(text: str, line: int, column: int) -> None:
    root = read_text(text, name="i.yaml")

    assert isinstance(root, MapNode)
    node = root.entries["code"].value
    assert isinstance(node, ScalarNode)
    assert (node.body.line, node.body.column) == (line, column)


def test_aliases_share_and_merges_fill_in_what_is_not_written() -> None:
    text = "x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\nz: {<<: [*x, {b: 9, c: 4}]}\nw: *x\n'<<': 5\n"

    assert load(text) == {
        "x": {"a": 1, "b": 2},
        "y": {"a": 1, "b": 3},
        "z": {"a": 1, "b": 2, "c": 4},
        "w": {"a": 1, "b": 2},
        "<<": 5,
    }


BOMB = "a: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"b{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested deeper"),
        ("{a: " * 100_000, "nested deeper"),
        ("- " * 100_000 + "a", "nested deeper"),
        ("? " * 100_000, "nested deeper"),
        (BOMB, "more than 100,000 values"),
        ("a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 200)), "nested deeper"),
        ("[" + "a," * 300_000 + "]", "more than 100,000 values"),
        ("a: &x [*x]", "alias \\*x"),
        ("a: *nobody", "alias \\*nobody"),
        ("a" * (MAX_BYTES + 1), "the limit is 2,000,000"),
        ("a: 1\n---\nb: 2\n", "one YAML document"),
        ("!!python/object/apply:os.system [ls]", "tag !!python/object/apply:os.system is not allowed"),
        ("a: !secret x", "tag !secret is not allowed"),
        ("a: !!int x", "not of the type !!int"),
        ("a: !!binary aGk=", "tag !!binary is not allowed"),
        ("a: .inf", "not a number in JSON"),
        ("a: .NaN", "not a number in JSON"),
        ("a: 1e999", "too large"),
        ("a: " + "9" * 5000, "more than 1000 digits"),
        ("a: 0x" + "f" * 5000, "more than 1000 digits"),
        ("[a]: 1", "a key must be text"),
        ("a: {<<: 1}", "merges a mapping"),
        ("", "is empty"),
        ("# only a comment", "is empty"),
        ("a: \x00", "U\\+0000 is not allowed"),
        ('a: "\\ud800"', "not YAML"),
        ("a: [1", "not YAML"),
    ],
)
def test_hostile_and_broken_text_is_refused_clearly(text: str, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        read_text(text, name="i.yaml")


def test_a_duplicate_key_is_told_with_both_places() -> None:
    [problem] = refused("a: 1\nb: 2\na: 3\n")

    assert (problem.line, problem.column) == (3, 1)
    assert "'a'" in problem.message
    assert problem.hint == "first in line 1"


@pytest.mark.parametrize(
    ("text", "line", "column", "hint"),
    [
        ("a:\n\tb: 1\n", 2, 1, "spaces, not with tabs"),
        ("with: {x: ${{ a.b }} }\n", 1, 13, "must stand in quotes"),
        ("a: b: c\n", 1, 5, "quotes"),
        ("a: @x\n", 1, 4, "quotes"),
        ("a: 1\n b: 2\n", 2, 3, "indentation"),
    ],
)
def test_a_syntax_error_says_what_to_do(text: str, line: int, column: int, hint: str) -> None:
    [problem] = refused(text)

    assert problem.line == line
    assert problem.column in (column, column - 1, column + 1, column - 2)
    assert hint in problem.hint


def test_text_that_is_not_utf_8_is_refused_at_its_byte() -> None:
    [latin] = refused("a: 1\nb: é\n".encode("latin-1"))
    [wide] = refused("a: 1".encode("utf-16"))

    assert (latin.line, latin.column) == (2, 4)
    assert "UTF-16" in wide.message


def test_a_file_of_50_mb_is_refused_without_reading_it(tmp_path: Path) -> None:
    file = tmp_path / "integration.yaml"
    with file.open("wb") as stream:
        stream.truncate(50_000_000)
    tracemalloc.start()

    with pytest.raises(DefinitionError, match="50,000,000 bytes"):
        read_file(file)

    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_what_is_not_a_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "integration.yaml")

    with pytest.raises(DefinitionError, match="not a file"):
        read_file(tmp_path / "integration.yaml")
    with pytest.raises(DefinitionError, match="cannot be read"):
        read_file(tmp_path / "absent.yaml")


def test_problems_are_gathered_but_not_without_end() -> None:
    problems = refused("".join(f"a{i}: .inf\n" for i in range(5000)))

    assert len(problems) == 100


@pytest.mark.parametrize("text", ["[" * 100_000, BOMB, "a: 1\na: 2\n"])
def test_the_parser_written_in_python_is_held_to_the_same(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_source, "_LOADER", yaml.SafeLoader)

    with pytest.raises(DefinitionError):
        read_text(text, name="i.yaml")


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
data = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4))


@given(data)
def test_what_json_can_say_is_read_as_it_was_written(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False)

    assume(not re.search("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufeff\ufffe\uffff\u2028\u2029]", text))

    assert load(text.replace("\\/", "/")) == value


@given(st.text(max_size=300) | st.text(alphabet="[]{}:-?,&*!|>'\"%@` \n\tab<#", max_size=300))
def test_no_text_breaks_the_reader(text: str) -> None:
    with suppress(DefinitionError):
        plain(read_text(text, name="i.yaml"))
