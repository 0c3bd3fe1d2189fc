"""The quick way along plain paths gives what JMESPath gives, and so does the interpreter of ours."""

from __future__ import annotations

import json
from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout.errors import StepError
from turnout.expressions import Scope, compile_template
from turnout.values import Value

NAMES = st.sampled_from(["a", "b", "c", "d-e", "ü"])
SCALARS = st.none() | st.booleans() | st.integers() | st.sampled_from(["", "a", "zz"])
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=25
)
PARTS = st.lists(NAMES.map(lambda name: "." + json.dumps(name)) | st.integers(-5, 5).map("[{}]".format), max_size=6)
TAILS = st.sampled_from(
    [
        "",
        "[]",
        "[*].a",
        "[?a]",
        "[?a == b].b",
        "[?a < b]",
        ".*",
        ".*.a",
        "[1:]",
        "[::-1].b",
        ".{x: a, y: b}",
        ".[a, b]",
        " | [0]",
        " == `1`",
        " || `[]`",
        " && 'x'",
        "[].a | [?@ == `true`]",
        "[*].[a, b][]",
    ]
)


def render(expression: str, document: Value) -> Any:
    scope = Scope(roots={"root": document}, now=0.0, unique=str)
    return compile_template(f"${{{{ {expression} }}}}").render(scope).load()


@given(DOCUMENTS, PARTS)
def test_a_plain_path_gives_what_jmespath_gives(document: Any, parts: list[str]) -> None:
    expression = "root" + "".join(parts)

    expected = jmespath.search(expression, {"root": document})

    assert render(expression, Value(document)) == expected
    assert render(expression, Value.from_json(json.dumps(document).encode())) == expected


@given(DOCUMENTS, PARTS, TAILS)
def test_an_expression_gives_what_jmespath_gives(document: Any, parts: list[str], tail: str) -> None:
    expression = "root" + "".join(parts) + tail

    try:
        expected = jmespath.search(expression, {"root": document})
    except TypeError:  # the library lets Python compare text with numbers; JMESPath says that it is null
        return

    assert render(expression, Value(document)) == expected


@given(DOCUMENTS)
def test_large_unparsed_text_is_followed_to_the_same_value(document: Any) -> None:
    text = json.dumps({"padding": "x" * 70_000, "in": [document, document]}).encode()

    assert render('root."in"[1]', Value.from_json(text)) == document
    assert render('root."in"[-1].a', Value.from_json(text)) == jmespath.search("a", document)


@pytest.mark.parametrize("number", ["9" * 5000, "-" + "9" * 5000])
def test_a_number_that_nobody_can_hold_is_the_values_fault(number: str) -> None:
    """In a large text nothing is looked at before it is needed."""
    large = Value.parse(f'{{"pad":"{"x" * 70_000}","number":{number}}}')

    with pytest.raises(StepError, match="not JSON"):
        large.load()
