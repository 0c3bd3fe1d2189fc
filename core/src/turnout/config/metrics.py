"""`[metrics]`: where the platform publishes how its queue stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from turnout.config.readers import options, text
from turnout.config.shapes import Section, leaf

__all__ = ["METRICS", "MetricSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSettings:
    """`kind` is a sink that a plugin provides, `options` its own settings, unread; empty: nothing is published."""

    kind: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


METRICS = Section(
    make=MetricSettings,
    keys={
        "kind": leaf(
            "kind",
            text,
            "Where how the queue stands is published, by the name a plugin gives it: `cloudwatch` of `turnout-aws`; nowhere "
            "without it.",
        ),
        "options": leaf(
            "options",
            options('{ region = "eu-central-1" }'),
            "That sink's own settings, as its documentation has them.",
            private=True,
        ),
    },
)
