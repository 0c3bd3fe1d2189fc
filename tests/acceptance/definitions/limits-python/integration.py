"""Limits in Python say what they say in YAML."""

from datetime import timedelta

from turnout import Integration, expr, flow, limits, stop, variable, webhook

integration = Integration(
    name="limits-python",
    version="1.0.0",
    config=[variable("connections", "integer", default=3)],
    flows=[
        flow(
            "main",
            webhook(),
            limits=limits(
                concurrency=[5, {"most": expr("config.connections"), "per": "customer"}],
                rate={"most": 10, "window": timedelta(minutes=1)},
                order={"key": expr("trigger.body.account"), "per": "instance"},
                debounce="10s",
                deduplicate=expr("trigger.body.id"),
                priority=5,
            ),
            steps=[stop("done", output=[1, 2])],
        ),
        flow("plain", webhook(), limits={"concurrency": 1}, steps=[stop("done")]),
    ],
)
