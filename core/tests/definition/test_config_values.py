"""Config values: what an instance sets against what the definition declares."""

from __future__ import annotations

from typing import Any

import pytest
from turnout import Integration, variable
from turnout.definition import resolve_config
from turnout.errors import SettingsError


def resolve(kind: str, value: Any, **declared: Any) -> Any:
    return resolve_config(Integration(name="x", config=[variable("v", kind, **declared)]), {"v": value})["v"]


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        ("string", "a", "a"),
        ("string", "12", "12"),
        ("number", 1.5, 1.5),
        ("number", "1.5", 1.5),
        ("number", "10", 10),
        ("integer", "10", 10),
        ("integer", 10.0, 10),
        ("boolean", "true", True),
        ("boolean", "off", False),
        ("boolean", False, False),
        ("object", '{"a": 1}', {"a": 1}),
        ("object", {"a": 1}, {"a": 1}),
        ("array", "[1, 2]", [1, 2]),
        ("array", [1], [1]),
    ],
)
def test_values_are_taken_as_their_type_text_too(kind: str, given: object, value: object) -> None:
    found = resolve(kind, given)

    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("string", 12),
        ("string", True),
        ("number", True),
        ("number", "ten"),
        ("number", "NaN"),
        ("number", "Infinity"),
        ("number", float("inf")),
        ("number", "1e999"),
        ("integer", 1.5),
        ("integer", "1.5"),
        ("integer", "true"),
        ("boolean", 1),
        ("boolean", "maybe"),
        ("object", "[1]"),
        ("object", "{"),
        ("array", "{}"),
        ("array", "[" * 100_000),
    ],
)
def test_a_value_of_another_type_is_refused_without_being_shown(kind: str, given: object) -> None:
    with pytest.raises(SettingsError, match="config variable 'v' must be") as caught:
        resolve(kind, given)

    assert caught.value.setting == "v"
    assert not isinstance(given, str) or given not in str(caught.value).replace("'v'", "")


def test_choices_hold_and_true_is_not_one() -> None:
    assert resolve("integer", "1", choices=[1, 2]) == 1
    assert resolve("string", "b", choices=["a", "b"]) == "b"
    with pytest.raises(SettingsError, match='one of "a", "b"'):
        resolve("string", "c", choices=["a", "b"])


def test_what_is_not_set_has_its_default_or_null_or_is_missing() -> None:
    integration = Integration(
        name="x",
        config=[
            variable("given", "integer", default=1),
            variable("defaulted", "boolean", default=False),
            variable("optional", required=False),
        ],
    )

    assert resolve_config(integration, {"given": 5}) == {"given": 5, "defaulted": False, "optional": None}


def test_everything_that_is_wrong_is_named_at_once() -> None:
    integration = Integration(
        name="x", config=[variable("erp_url", description="Base URL of the ERP"), variable("limit", "integer")]
    )

    with pytest.raises(SettingsError) as caught:
        resolve_config(integration, {"erp_uri": "http://secret", "limit": "many"})

    message = str(caught.value)
    assert "'erp_uri' is not a config variable of 'x' (did you mean 'erp_url'?)" in message
    assert "config variable 'erp_url' is not set (Base URL of the ERP)" in message
    assert "config variable 'limit' must be a whole number" in message
    assert "secret" not in message
    assert caught.value.setting == "erp_uri"
