"""The reference page of the definition: its example holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from turnout.definition import validate
from turnout.definition.loader import load_yaml_text
from turnout.interfaces.connector import Connector

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "definition.md"


def test_the_example_is_sound(connectors: Mapping[str, Connector]) -> None:
    example = PAGE.read_text().split("```yaml\n")[1].split("```")[0]

    assert validate(load_yaml_text(example), connectors) == []
