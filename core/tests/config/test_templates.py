"""Templates of messages: what they may say, and that none takes much time or room, whatever it asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment
from turnout.config.templates import FILTERS, LONGEST_TEMPLATE, checked_template, rendered

WORDS: Final[Mapping[str, str | int]] = {
    "error": "no <route> to & host " * 20,
    "count": 3,
    "customer": "acme",
    "flow": "",
}
LARGE: Final = 1_000_000
"""What an attack makes here; it takes a few digits more to make it a thousand times as large."""
REFUSED: Final = r"^a (template|message) has no "
ATTACKS: Final = {
    "multiplied text": "{{ 'x' * 1000000 }}",
    "a product of lists": "{{ ([1] * 1000000)|join }}",
    "a width of %": "{{ '%1000000d' % 1 }}",
    "a width of format": "{{ '{:1000000}'.format(1) }}",
    "a width of the filter format": "{{ '%1000000d'|format(1) }}",
    "center": "{{ error|center(1000000) }}",
    "indent": "{{ error|indent(1000000, first=true) }}",
    "ljust": "{{ error.ljust(1000000) }}",
    "replace again and again": "{{ error|replace('', error)|replace('', error)|truncate(1000000) }}",
    "join again and again": "{{ error|join(error)|join(error) }}",
    "batch": "{{ error|batch(1000000, 'x')|join|string }}",
    "wordwrap": "{{ error|wordwrap(1, wrapstring=error)|wordwrap(1, wrapstring=error) }}",
    "a power": "{{ (10 ** 1000000).bit_length() * 'x' }}",
    "loops in loops": "{% for a in error %}{% for b in error %}{{ error }}{% endfor %}{% endfor %}",
    "range": "{% for a in range(99999) %}{{ error }}{% endfor %}",
    "a variable that doubles": "{% set x = error %}" + "{% set x = x ~ x %}" * 12 + "{{ x }}",
    "a macro that calls itself": "{% macro m(n) %}{{ error }}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(11) }}",
    "lipsum": "{{ lipsum(n=3000) }}",
    "a block that is filtered": "{% filter center(1000000) %}{{ error }}{% endfilter %}",
    "a block that is said twice": "{% block a %}{{ error }}{% endblock %}"
    + "{{ self.a() }}" * 1000
    + "{{ 'x' * 600000 }}",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_would_grow_is_refused_and_says_what_is_wrong(attack: str) -> None:
    with pytest.raises(ValueError, match=REFUSED):
        checked_template(ATTACKS[attack], WORDS)

    with pytest.raises(ValueError, match=REFUSED):
        rendered(ATTACKS[attack], WORDS, most=100)


@pytest.mark.parametrize("attack", [name for name in ATTACKS if name not in ("batch", "a power")])
def test_control_in_a_sandbox_alone_it_grows(attack: str) -> None:
    """The sandbox of Jinja by itself lets each of them be."""
    made = ImmutableSandboxedEnvironment(autoescape=False).from_string(ATTACKS[attack]).render(WORDS)

    assert len(made) > LARGE / 2


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{{ customer|upper }}: {{ error[:8] }}", "ACME: no <rout"),
        ("{% if count > 2 and not flow %}often{% elif count %}once{% else %}never{% endif %}", "often"),
        ("{{ count - 1 }} more, {{ 'no' if flow else 'some' }} flow", "2 more, some flow"),
        ("{{ flow|default('none', true) }} {{ error|truncate(10) }}", "none no..."),
        ("{{ 'acme' in customer }} {{ customer is eq 'acme' }} {{ customer ~ count }}", "True True acme3"),
        ("{# a note #}{% raw %}{{ x }}{% endraw %}", "{{ x }}"),
    ],
)
def test_what_messages_need_is_there(written: str, expected: str) -> None:
    checked_template(written, WORDS)

    assert rendered(written, WORDS, most=1000) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{{ custmer }}", "a message has no 'custmer'; there are count, customer, error, flow"),
        ("{{ error", "a template of Jinja is expected: unexpected end of template"),
        ("one\n\n{{ error|urlize }}", "a template has no filter 'urlize': there are capitalize, .* \\(its line 3\\)"),
        ("{{ error.upper() }}", "a template has no (calls|attributes)"),
        ("{{ error is string }}", "a template has no test 'string': there are defined"),
        ("{% include 'x' %}", "a template has no other templates"),
        ("{{ 9999999999 }}", "a template has no numbers above 1000000000"),
        ("{{ 1e999 }}", "a template has no numbers above"),
        (f"{{{{ {'9' * 5000} }}}}", "a template has no numbers above"),
        ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "less deeply nested"),
        ("{% if count %}" * 150 + "{% endif %}" * 150, "less deeply nested"),
        ("x" * (LONGEST_TEMPLATE + 1), "at most 20000 characters"),
    ],
)
def test_a_template_that_is_wrong_says_so(written: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        checked_template(written, WORDS)


def test_a_template_that_fails_as_it_is_rendered_is_a_wrong_value() -> None:
    checked_template("{{ error - 1 }}", WORDS)

    with pytest.raises(ValueError, match="the template fails: TypeError"):
        rendered("{{ error - 1 }}", WORDS, most=100)


def test_no_more_is_made_than_is_asked_for() -> None:
    assert rendered("{{ error }}" * 1000, WORDS, most=7) == "no <rou"


ARGUMENTS: Final = st.sampled_from(["", "(error)", "(1000000000)", "(error, error)", "(1000000000, true, error)"])
PIECES: Final = st.recursive(
    st.sampled_from(["error", "count", "'ß'", "1000000000", "customer"]),
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "~", "and", "or", "==", "in"]), inner),
        st.builds("({})|{}{}".format, inner, st.sampled_from(sorted(FILTERS)), ARGUMENTS),
        st.builds("(error ~ {})[{}]".format, inner, st.sampled_from(["0", ":9", "::-1", "1000000000"])),
    ),
    max_leaves=12,
)


@given(PIECES)
def test_whatever_is_put_together_of_what_is_allowed_stays_small(piece: str) -> None:
    """Each word stands in for itself: a result is never longer than all that is written, with words in their places."""
    written = f"{{{{ {piece} }}}}"
    checked_template(written, WORDS)

    try:
        made = rendered(written, WORDS, most=LARGE)
    except ValueError as error:
        assert "the template fails" in str(error)  # noqa: PT017 - what fails is one of the two right ends
    else:
        assert len(made) <= 3 * (len(written) + (piece.count("error") + 1) * len(str(WORDS["error"])))
