"""Expressions that try to fill the memory, keep the process busy, or break the parser."""

from __future__ import annotations

import contextlib
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout.errors import ExpressionError
from turnout.expressions import Scope, compile_condition, compile_template
from turnout.values import Value

SCOPE = Scope(
    roots={"list": Value([1, 2]), "many": Value([{"a": str(i)} for i in range(5_000)]), "text": Value("x" * 1000)},
    now=0.0,
    unique=str,
)


def render(expression: str) -> Any:
    return compile_template(f"${{{{ {expression} }}}}").render(SCOPE).load()


def piped(start: str, step: str, times: int) -> str:
    return " | ".join([start, *[step] * times])


@pytest.mark.parametrize(
    "expression",
    [
        piped("list", "[@, @]", 40),
        piped("list", "[@[], @[]][]", 40),
        piped("list", "to_string([@])", 40),
        piped("list", "[to_json(@)]", 40),
        f"list | {{a: {piped('@', '[@, @]', 40)}, b: {piped('@', '[@, @]', 40)}}} | a == b",
        f"contains([{piped('list', '[@, @]', 40)}], {piped('list', '[@, @]', 40)})",
        "many[?" + "`[1,2,3,4,5,6,7,8,9]`[?" * 9 + "@" + "]" * 10,
        "map(&'" + "y" * 6000 + "', many) | [@, @, @, @, @, @, @]",
        "join('" + "y" * 8000 + "', map(&a, many[] | [@, @] | []))",
        "replace(replace(replace(text, 'x', '" + "x" * 90 + "'), 'x', '" + "x" * 90 + "'), 'x', '" + "x" * 90 + "')",
    ],
)
def test_bombs_are_refused_before_they_go_off(expression: str) -> None:
    with pytest.raises(ExpressionError, match=r"too much work|would be longer"):
        render(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "(" * 3000 + "text" + ")" * 3000,
        "!" * 5000 + "text",
        "||".join(["text"] * 1500),
        "list" + "[?a" * 60 + "]" * 60,
        "`" + "[" * 3500 + "]" * 3500 + "`",
        "{a: " * 60 + "list" + "}" * 60,
        "text" + ".a" * 10_000,
        "text[" + "9" * 5000 + "]",
        "list[0" + "9" * 5000 + ":]",
        "[",
        "list[",
        "list[:",
        "text(",
        "{",
        "{a",
        "{a:",
        "*|",
        "\\",
        "\x00",
        "`1e999`",
        "`NaN`",
        "list[::0]",
    ],
)
def test_what_cannot_be_read_is_an_error_of_ours(expression: str) -> None:
    with pytest.raises(ExpressionError):
        render(expression)


def test_a_long_plain_chain_is_just_null() -> None:
    assert render("text" + ".a" * 1000) is None


@given(st.text(st.sampled_from(string.ascii_letters[:4] + "[]{}()|&!=<>.,:*?@'\"`-0 1\\$ü"), max_size=40))
def test_any_text_either_compiles_or_is_an_error_of_ours(text: str) -> None:
    for compile_text in (compile_condition, lambda text: compile_template(f"x ${{{{ {text} }}}} y")):
        with contextlib.suppress(ExpressionError):  # any other exception fails the test
            compile_text(text)


def test_a_text_with_many_unclosed_openings_is_read_quickly() -> None:
    with pytest.raises(ExpressionError, match="no matching"):
        compile_template("${{ '" * 200_000)


def test_nothing_of_python_can_be_reached() -> None:
    assert render("text.__class__") is None
    assert render("list.append") is None
    assert render("many[0].__init__.__globals__") is None
    assert render("many[*].keys | [0]") is None
    with pytest.raises(ExpressionError, match="unknown function '__import__'"):
        render("__import__('os')")
