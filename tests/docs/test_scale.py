"""docs/explanation/scale.md is what the simulation gives, and the default policy is the one that it chooses."""

from __future__ import annotations

import pytest
from turnout.deploy.advice.comparing import advise
from turnout.deploy.advice.prices import read_prices
from turnout.deploy.advice.scaling import DEFAULT_POLICY

from tools import generate_scale


def test_the_page_is_what_the_script_makes() -> None:
    assert generate_scale.PAGE.read_text() == generate_scale.page(), "run python -m tools.generate_scale"


def test_the_default_policy_is_the_one_that_is_chosen() -> None:
    assert generate_scale.chosen() == DEFAULT_POLICY


def test_the_original_story_takes_a_minute_as_it_was_and_two_seconds_on_ecs() -> None:
    advice = advise(generate_scale.STORY, read_prices(), function=generate_scale.STORY_FUNCTION)
    took = {one.target: one.p50_s for one in advice.choices}

    assert took["lambda-steps"] == pytest.approx(60, abs=2)
    assert took["lambda"] == pytest.approx(11.5)
    assert took["ecs"] == pytest.approx(2.0, abs=0.1)
