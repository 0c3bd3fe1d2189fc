"""Templates and conditions: types, interpolation, references, errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout.errors import ExpressionError
from turnout.expressions import Scope, compile_condition, compile_template
from turnout.model.payload import File
from turnout.values import Value

ORDERS = [{"id": 1, "total": 50}, {"id": 2, "total": 150.5}]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def scope(**roots: Value | Mapping[str, Value]) -> Scope:
    steps = {"parse": Value({"orders": ORDERS}), "skipped": Value(None), "my-step": Value("dashed")}
    known: dict[str, Value | Mapping[str, Value]] = {"steps": steps, "config": {"minimum": Value(100)}}
    return Scope(roots={**known, **roots}, now=1_700_000_000.0, unique=lambda: "id-1")


def render(data: Any, **roots: Value) -> Any:
    return compile_template(data).render(scope(**roots)).load()


@given(JSON)
def test_a_whole_expression_keeps_its_type(data: Any) -> None:
    assert render("${{ item }}", item=Value(data)) == data


@given(JSON)
def test_data_without_expressions_comes_back_as_it_is(data: Any) -> None:
    escaped = json.loads(json.dumps(data).replace("${{", "$${{"))

    template = compile_template(escaped)

    assert template.constant
    assert template.render(scope()).load() == data


@given(TEXTS, TEXTS, TEXTS)
def test_text_is_interpolated_as_it_is(before: str, inside: str, after: str) -> None:
    before, after = before.replace("$", ""), after.replace("$", "")

    assert render(f"{before}-${{{{ item }}}}-{after}", item=Value(inside)) == f"{before}-{inside}-{after}"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, ""),
        (True, "true"),
        (False, "false"),
        (100.0, "100"),
        (-0.5, "-0.5"),
        (1e300, "1e300"),
        (2**80, str(2**80)),
        ([1, "é"], '[1,"é"]'),
        ({"a": None}, '{"a":null}'),
        ("", ""),
    ],
)
def test_inside_text_values_are_written_out(value: object, written: str) -> None:
    assert render("<${{ item }}>", item=Value(value)) == f"<{written}>"


def test_several_expressions_in_one_text_are_all_interpolated() -> None:
    assert render("${{ config.minimum }}/${{ steps.parse.orders[0].id }}${{ steps.skipped }}!") == "100/1!"


def test_expressions_are_found_inside_lists_and_objects_and_keys_stay_literal() -> None:
    data = {"${{ key }}": [{"n": "${{ config.minimum }}"}, 7], "t": ("a", "${{ steps.parse.orders[-1].total }}")}

    assert render(data) == {"${{ key }}": [{"n": 100}, 7], "t": ["a", 150.5]}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${{ {a: {b: config.minimum}} }}", {"a": {"b": 100}}),
        ("${{{a: {b: config.minimum}}}}", {"a": {"b": 100}}),
        ("${{ '}}' }}", "}}"),
        ("${{ '\\'}}' }}", "'}}"),
        ('${{ `{"a": "}}"}` }}', {"a": "}}"}),
        ('${{ steps."my-step" }}', "dashed"),
        ("${{steps.parse.orders[?total > `100`].id | [0]}}", 2),
        ("${{ steps.parse.orders[].total | sum(@) }}", 200.5),
        ("${{ steps.parse.orders[].id }}\n", [1, 2]),
        ("${{ steps.parse.orders[?id == `1`] }}\n\n", '[{"id":1,"total":50}]\n\n'),
        ("$${{ config.minimum }}", "${{ config.minimum }}"),
        ("$$${{ x }} ${{ config.minimum }}", "$${{ x }} 100"),
        ("costs $5 {{ not ours }}", "costs $5 {{ not ours }}"),
        ("${{ !item | to_string(@) }}", "true"),
        ("${{ config.minimum > `50` && 'much' || 'little' }}", "much"),
    ],
)
def test_an_expression_ends_where_it_should(text: str, result: object) -> None:
    assert render(text, item=Value(None)) == result


def test_missing_members_are_null() -> None:
    assert render("${{ steps.parse.nothing.at[3].all }}") is None
    assert render("${{ steps.skipped.text }}") is None
    assert render("${{ steps.parse[0] }}") is None


def test_big_integers_keep_every_digit() -> None:
    assert (
        render("${{ item }}", item=Value.from_json(b"123456789012345678901234567890")) == 123456789012345678901234567890
    )
    assert render("${{ sum(item) }}", item=Value([10**40, 1])) == 10**40 + 1


def test_a_large_document_passes_through_unparsed() -> None:
    text = b'{"body":{"big":[' + b",".join([b'{"a":1}'] * 20_000) + b"]}}"

    value = compile_template("${{ trigger.body.big }}").render(scope(trigger=Value.from_json(text)))

    assert value.json == text[15:-2]
    assert "unparsed" not in repr(value)
    assert value.index(-1) == Value({"a": 1})


@pytest.mark.parametrize(
    ("text", "references"),
    [
        ("${{ steps.fetch.text }}", {("steps", "fetch", "text")}),
        ("${{ steps.parse.orders[?total > `1`].id }}", {("steps", "parse", "orders")}),
        ("${{ steps.parse.orders[0].id }}", {("steps", "parse", "orders")}),
        ("${{ steps.parse.* }} ${{ item | a.b }}", {("steps", "parse"), ("item", "a", "b")}),
        (
            "${{ {a: trigger.body, b: [config.x, length(steps.y)]} }}",
            {("trigger", "body"), ("config", "x"), ("steps", "y")},
        ),
        ("${{ sort_by(item.list, &total) }}", {("item", "list")}),
        ("${{ !(item.a) || item.b }}", {("item", "a"), ("item", "b")}),
        ("${{ now() }}", set()),
    ],
)
def test_references_are_the_static_paths(text: str, references: set[tuple[str, ...]]) -> None:
    assert compile_template({"deep": [text]}).references == references


def test_a_template_says_whether_it_is_constant_or_asks_for_the_time() -> None:
    assert compile_template("${{ now() }}").volatile
    assert not compile_template("${{ now() }}").constant
    assert not compile_template("${{ uuid() }}").volatile
    assert not compile_template("${{ uuid() }}").constant
    assert compile_template("${{ upper('a') }}").constant
    assert not compile_template("${{ item }}").constant
    assert compile_condition("epoch(now()) > `0`").volatile


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("${{ steps.parse.orders }}", True),
        ("steps.parse.orders", True),
        ("steps.skipped", False),
        ("  ${{ config.minimum == `100` }}\n", True),
        ("item", True),
        ("`0`", True),
        ("''", False),
        ("`[]`", False),
        ("`{}`", False),
        ("true", True),
        ("false", False),
        (True, True),
        (False, False),
        ("'${' == 'x'", False),
    ],
)
def test_conditions_have_the_truth_of_jmespath(condition: str | bool, holds: bool) -> None:
    assert compile_condition(condition).holds(scope(item=Value(0))) is holds


@pytest.mark.parametrize("text", ["", "  ", "yes ${{ item }}", "${{ a }}${{ b }}", "${{ }}"])
def test_what_is_not_one_expression_is_no_condition(text: str) -> None:
    with pytest.raises(ExpressionError):
        compile_condition(text)


@pytest.mark.parametrize(
    ("text", "reason", "hint"),
    [
        ("${{ steps.prse }}", "unknown step 'prse'", "did you mean 'parse'?"),
        ("${{ config.maximum }}", "unknown config variable 'maximum'", "minimum"),
        ("${{ stps.parse }}", "unknown name 'stps'", "did you mean 'steps'?"),
        ('${{ config.minimum == "x" }}', "unknown name 'x'", "single quotes: 'x'"),
        ("${{ lenght(steps.parse) }}", "unknown function 'lenght'", "did you mean 'length'?"),
        ("${{ now(1) }}".replace("1", "`1`"), "now() takes 0 arguments, not 1", "now()"),
        ("${{ join('a') }}", "join() takes 2 arguments, not 1", ""),
        ("${{ length(config.minimum) }}", "length() takes string or array or object, not number", ""),
        ("${{ steps.my-step }}", "unexpected '-' at column 9", 'steps."my-step"'),
        ("${{ config.minimum > 05 }}", "unexpected '0' at column 18", "as in JSON"),
        ("${{ config.minimum 5 }}", "unexpected '5' at column 16", "as in JSON"),
        ("${{ config.minimum -1 }}", "unexpected '-' at column 16", ""),
        ("${{ steps.parse.orders.0 }}", "unexpected '0' at column 20", "orders[0]"),
        ("${{ steps['parse'] }}", 'unexpected "\'" at column 7', "with a dot"),
        ("${{ steps.größe }}", "unexpected 'ö' at column 9", "double quotes"),
        ("${{ config.minimum and config.minimum }}", "unexpected 'a' at column 16", "&&"),
        ("${{ config.minimum or config.minimum }}", "unexpected 'o' at column 16", "||"),
        ("${{ not config.minimum }}", "unexpected 'c' at column 5", "`not` is written !"),
        ("${{ config.minimum + `1` }}", "unexpected '+' at column 16", "code step"),
        ("${{ config.minimum = `1` }}", "unexpected '=' at column 16", "=="),
        ("${{ $.x }}", "unexpected '$' at column 1", "names begin without a sign"),
        ("${{ `x` }}", "what stands in backticks is not JSON", "'x'"),
        ("${{ 'x }}", "`${{` has no matching `}}`", "$${{"),
        ("${{ steps. }}", "it ends too early", ""),
        ("${{ @ }}", "it asks for everything at once", "steps"),
        ("${{ &a }}", "`&` makes an expression where a value is needed", "sort_by"),
        ("a ${{ file }}", "a file cannot become text by itself", "${{ file.text }}"),
    ],
)
def test_faults_say_what_is_wrong_and_what_to_do(text: str, reason: str, hint: str) -> None:
    file = Value(File(sha256="0" * 64, size=1, data=b"x"))

    with pytest.raises(ExpressionError) as caught:
        render(text, file=file)

    assert caught.value.reason == reason
    assert hint in caught.value.hint
    assert caught.value.reason in str(caught.value)
    assert not caught.value.retryable


def test_a_fault_has_its_place_in_the_text_and_a_caret_in_its_message() -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_template("id-${{  steps.my-step  }}")

    assert caught.value.offset == "id-${{  steps.my-step  }}".index("-step")
    assert str(caught.value).splitlines()[1:3] == ["  steps.my-step", "          ^"]


def test_the_caret_stays_on_the_line_of_a_long_expression() -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_template("${{ [a,\n" + "b, " * 60 + "c-d,\ne] }}")

    picture, caret = str(caught.value).splitlines()[1:3]
    assert len(picture) < 80
    assert picture[caret.index("^")] == "-"


def test_errors_at_run_time_do_not_show_values() -> None:
    with pytest.raises(ExpressionError) as caught:
        render("${{ abs(item) }}", item=Value("s3cret-token"))

    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("steps.parse.orders[?total > 100].id", [2]),
        ("steps.parse.orders[?total == 150.5].id", [2]),
        ("steps.parse.orders[?total >= -1.5e0].id", [1, 2]),
        ("default(steps.skipped, 0)", 0),
        ("[config.minimum, 1.05, -3][1:]", [1.05, -3]),
        ("steps.parse.orders[0].total", 50),
        ("steps.parse.orders[-1].id", 2),
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ("steps.skipped == null", True),
        ("steps.parse.orders[?paid == null].id", [1, 2]),
        ("steps.parse.orders[?(total > 100) == true].id", [2]),
        ("default(steps.skipped.done, false)", False),
        ("{paid: true, note: null}", {"paid": True, "note": None}),
        ("null", None),
        ("!steps.parse.orders", False),
        ("!steps.parse.missing.deep", True),
        ("!steps.parse.orders[?total > 500]", True),
        ("!steps.skipped && config.minimum == 100", True),
        ("steps.parse.orders[?!note.text].id", [1, 2]),
    ],
)
def test_numbers_words_and_negation_are_read_as_people_mean_them(expression: str, expected: Any) -> None:
    assert render(f"${{{{ {expression} }}}}") == expected


def test_a_field_called_true_is_asked_for_by_its_place() -> None:
    assert render("${{ item.true }}", item=Value({"true": 1})) == 1
    assert render("${{ item[?@.null == 2].null }}", item=Value([{"null": 2}, {"null": 3}])) == [2]
