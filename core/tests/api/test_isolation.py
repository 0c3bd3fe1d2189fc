"""One customer neither sees nor changes anything of another's, whatever it asks; and a check that is missing anywhere is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from turnout.services.api import integrations, problems
from turnout.services.api.endpoint import Call
from turnout.services.api_keys import Principal

from core.tests.api.isolation import TwoCustomers

TestTwoCustomers = TwoCustomers.TestCase
TestTwoCustomers.settings = settings(
    max_examples=8, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)


def sees_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Principal, "sees", lambda _, __: True)


def filters_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked_for(_: Call[Any, Any], asked: str | None) -> str | None:
        return asked

    monkeypatch.setattr(Call, "only", asked_for)


def knows_every_integration(monkeypatch: pytest.MonkeyPatch) -> None:
    async def all_of_them(*_: object) -> None:
        return None

    monkeypatch.setattr(integrations, "_known", all_of_them)


def says_what_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal that tells that there is such a customer."""

    def customer(self: Call[Any, Any]) -> str:
        if not self.principal.sees(self.path["customer"]):
            known = self.path["customer"] in ("acme", "bolt")
            raise problems.ProblemError(403 if known else 404, "no")
        return self.path["customer"]

    monkeypatch.setattr(Call, "customer", customer)


@pytest.mark.parametrize("broken", [sees_everybody, filters_as_asked, knows_every_integration, says_what_it_refuses])
def test_a_check_that_is_missing_is_found(
    monkeypatch: pytest.MonkeyPatch, broken: Callable[[pytest.MonkeyPatch], None]
) -> None:
    broken(monkeypatch)

    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            TwoCustomers,
            settings=settings(
                max_examples=20,
                stateful_step_count=40,
                deadline=None,
                database=None,
                derandomize=True,
                phases=(Phase.generate,),
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
                print_blob=False,
            ),
        )
