"""Any text can be stored, is told apart from any other, and comes back as it was."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from turnout_postgres.plain_text import name_of, original, plain

STRANGE = st.text(
    st.sampled_from(["\0", "\x1a", "\ud800", "\udfff", "0", "d", "8", "h", "a"]) | st.characters(), max_size=20
)
LONG = st.text(st.sampled_from(["a", "\0", "ü", "\x1a"]), min_size=190, max_size=420)


@given(STRANGE)
def test_text_comes_back_as_it_was(text: str) -> None:
    stored = plain(text)

    assert original(stored) == text
    assert "\0" not in stored
    stored.encode()


@given(STRANGE, STRANGE)
def test_different_text_is_stored_differently(one: str, other: str) -> None:
    assert (plain(one) == plain(other)) == (one == other)


@given(LONG, LONG)
def test_long_names_are_short_and_still_told_apart(one: str, other: str) -> None:
    assert len(name_of(one).encode()) < 900
    assert (name_of(one) == name_of(other)) == (one == other)


def test_usual_text_is_kept_as_it_is() -> None:
    assert plain("Straße 100%") == name_of("Straße 100%") == "Straße 100%"
