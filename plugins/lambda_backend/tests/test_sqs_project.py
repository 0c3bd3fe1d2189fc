"""A project that chooses the queue on SQS: what it asks of it beyond its promises is found by `turnout check`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from turnout.cli import main

from plugins.lambda_backend.tests.sqs_parts import new_queue
from plugins.lambda_backend.tests.stand_in import StandIn

FLOW = """
integration: shop
version: 1.0.0
flows:
  take: {trigger: {webhook: {}}, %s steps: [{id: done, stop: {output: 1}}]}
"""


@pytest.fixture
def project(stand_in: StandIn, sqs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    settings = f'[stores]\nqueue = "sqs"\n[backends.sqs]\nqueue = "{new_queue(sqs)}"\nendpoint_url = "{stand_in.url}"\n'
    (tmp_path / "turnout.toml").write_text(settings)
    (tmp_path / "integration.yaml").write_text(FLOW % "")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_check_and_services_say_what_the_queue_does_not_keep(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    statuses = [main(["check"]), main(["services"])]

    said = capsys.readouterr().out
    assert statuses == [0, 0]
    assert "queue sqs: it keeps no fairness, first_due, limits, priority; nothing here asks for it" in said
    assert "The queue 'sqs' keeps no fairness, first_due, limits, priority." in said


@pytest.mark.parametrize("limits", ["concurrency: 1", "priority: 3"])
def test_check_refuses_a_flow_that_asks_for_it(project: Path, limits: str, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "integration.yaml").write_text(FLOW % f"limits: {{{limits}}},")

    status = main(["check"])

    said = capsys.readouterr().err
    assert status == 2
    assert "stores.queue: runner: flow 'shop/take'" in said
    assert "the queue 'sqs' does not keep" in said


def test_check_refuses_turns_of_customers(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "turnout.toml").write_text((project / "turnout.toml").read_text() + "[queue]\nin_flight = 4\n")

    status = main(["check"])

    assert status == 2
    assert "queue.in_flight" in capsys.readouterr().err
