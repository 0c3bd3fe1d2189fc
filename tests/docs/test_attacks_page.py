"""The list of attacks is what the attack suite makes."""

from __future__ import annotations

from tools.generate_attacks import PAGE, page


def test_the_page_of_attacks_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make docs`"
