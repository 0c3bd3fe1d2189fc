"""Functions of ours, and those of JMESPath that Python shows through in its library."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout.errors import ExpressionError
from turnout.expressions import FUNCTIONS, STANDARD_ARITY, Scope, compile_template
from turnout.values import Value

NOON = 1_700_000_000.0


def render(expression: str, item: Any = None, **functions: Any) -> Any:
    ids = itertools.count(1)
    scope = Scope(roots={"item": Value(item)}, now=NOON, unique=lambda: f"id-{next(ids)}", functions=functions)
    return compile_template(f"${{{{ {expression} }}}}").render(scope).load()


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("now()", "2023-11-14T22:13:20.000Z"),
        ("epoch(now())", 1_700_000_000),
        ("epoch('2023-11-14T23:13:20.5+01:00')", 1_700_000_000.5),
        ("epoch('2023-11-14')", 1_699_920_000),
        ("add_time(now(), '1h30m')", "2023-11-14T23:43:20.000Z"),
        ("add_time('2024-02-28T00:00:00Z', '1d')", "2024-02-29T00:00:00.000Z"),
        ("add_time(now(), '-500ms')", "2023-11-14T22:13:19.500Z"),
        ("add_time(now(), `-20`)", "2023-11-14T22:13:00.000Z"),
        ("format_time(now(), '%Y-%m-%d')", "2023-11-14"),
        ("format_time(now(), '%d.%m. %H:%M %% %Z', 'Europe/Berlin')", "14.11. 23:13 % CET"),
        ("parse_time('14/11/2023 23:13', '%d/%m/%Y %H:%M')", "2023-11-14T23:13:00.000Z"),
        ("parse_time('14/11/2023 23:13', '%d/%m/%Y %H:%M', 'Europe/Berlin')", "2023-11-14T22:13:00.000Z"),
        ("parse_time('2023-11-14 23:13 +0500', '%Y-%m-%d %H:%M %z', 'Europe/Berlin')", "2023-11-14T18:13:00.000Z"),
        ("[uuid(), uuid()]", ["id-1", "id-2"]),
        ("base64_encode('grüß')", "Z3LDvMOf"),
        ("base64_decode('Z3LDvMOf')", "grüß"),
        ("base64_decode('Pz8_Pg')", "???>"),
        ("url_encode('a b/ü?')", "a%20b%2F%C3%BC%3F"),
        ("url_encode(`12`)", "12"),
        ("default(`null`, 'x')", "x"),
        ("default('', 'x')", ""),
        ("default(`false`, 'x')", False),
        ("parse_json('{\"a\": [1.5, null]}')", {"a": [1.5, None]}),
        ("to_json('x')", '"x"'),
        ('to_json(`{"a": "é"}`)', '{"a":"é"}'),
        ("lower('ÄB')", "äb"),
        ("upper('äb')", "ÄB"),
        ("trim('  a b\n ')", "a b"),
        ("trim('--a-', '-')", "a"),
        ("split('a,b,,c', ',')", ["a", "b", "", "c"]),
        ("replace('a.b.c', '.', '')", "abc"),
        ('items(`{"a": 1}`)', [["a", 1]]),
        ('from_items(`[["a", 1], ["b", 2], ["a", 3]]`)', {"a": 3, "b": 2}),
        ("to_string(`[1, null]`)", "[1,null]"),
        ("to_string('x')", "x"),
        ("to_number('12')", 12),
        ("to_number('1.50')", 1.5),
        ("to_number('1_000')", None),
        ("to_number('nan')", None),
        ("to_number('inf')", None),
        ("to_number(`true`)", None),
        ("contains('abc', `1`)", False),
        ("contains(`[1, [2]]`, `true`)", False),
        ("contains(`[1, [2]]`, `[2]`)", True),
        ("'a' < `1`", None),
        ("'a' < 'b'", True),
        ("`true` == `1`", False),
        ("`[1]` == `[true]`", False),
        ('`{"a": 1}` == `{"a": 1.0}`', True),
        ("type(`1.5`)", "number"),
        ('max_by(`[{"a": 1}, {"a": 3}]`, &a).a', 3),
        ('map(&upper(@), `["a"]`)', ["A"]),
    ],
)
def test_functions_give_exactly_what_is_documented(expression: str, result: object) -> None:
    assert render(expression) == result


def test_text_numbers_of_any_size_are_exact() -> None:
    assert render("to_number(item)", "9" * 400) == int("9" * 400)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_base64_and_json_round_trip(text: str) -> None:
    assert render("base64_decode(base64_encode(item))", text) == text
    assert render("parse_json(to_json(item))", text) == text


def test_the_engine_provides_callback_urls() -> None:
    assert render("callback_url('wait')", callback_url=lambda step: f"https://x/{step}") == "https://x/wait"
    with pytest.raises(ExpressionError, match="no callback URLs here"):
        render("callback_url('wait')")


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("upper(`1`)", "upper(): the first argument must be text, not a number"),
        ("split('a', '')", "split(): the separator is empty"),
        ("replace('a', '', 'b')", "replace(): the text to replace is empty"),
        ("parse_json('{')", "parse_json(): not JSON"),
        ("base64_decode('?')", "base64_decode(): the argument is not base64"),
        ("base64_decode('/w==')", "base64_decode(): the argument is not base64 of UTF-8 text"),
        ("epoch('tomorrow')", "epoch(): a time must be ISO 8601 text"),
        ("epoch(`true`)", "epoch(): a time must be text, not a boolean"),
        ("epoch(`1e300`)", "epoch(): a time must be"),
        ("add_time(now(), '5 minutes')", "add_time(): a duration must be seconds or text"),
        ("add_time(now(), '999999999999w')", "add_time(): the time is outside the years"),
        ("format_time(now(), '%-d')", "format_time(): unknown code %-"),
        ("format_time(now(), 'a%')", "format_time(): unknown code %"),
        ("format_time(now(), '%Y', 'Mars/Olympus')", "format_time(): unknown time zone"),
        ("format_time(now(), '%Y', '../../etc/passwd')", "format_time(): unknown time zone"),
        ("parse_time('x', '%Y')", "parse_time(): the text is not a time in the format '%Y'"),
        ("from_items(`[1]`)", "from_items(): the argument must be a list of [key, value] pairs"),
        ("from_items(`[[1, 2]]`)", "from_items(): each key must be text"),
        ("items('a')", "items(): the argument must be an object, not text"),
        ("avg(`[1e308, 1e308]`)", "avg(): the number is too large"),
    ],
)
def test_wrong_arguments_are_named(expression: str, reason: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        render(expression)

    assert caught.value.reason.startswith(reason)


def test_every_function_is_documented_under_its_own_name_and_hides_none_of_jmespath() -> None:
    for name, function in FUNCTIONS.items():
        assert function.signature.startswith(f"{name}(")
        assert function.description.endswith(".")
    assert not set(FUNCTIONS) & set(STANDARD_ARITY)
