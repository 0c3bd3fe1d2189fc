"""For every test of the workspace: with CI=true a skip is a failure, so that no check is lost in silence.

A test that rightly depends on something the project cannot bring says so: `@pytest.mark.may_skip("why")`.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import hypothesis
import pytest

IN_CI = os.environ.get("CI", "").lower() == "true"


LONG = (
    "plugins/ecs_backend/tests/jail/test_as_on_fargate.py",
    "tests/chaos/",
    "tests/crash/",
    "tests/scenario/test_functions.py",
    "tests/scenario/test_runner_on_lambda.py",
)
"""Where each test takes long and shares nothing: under `make test` they begin first, and one by one."""


# A busy machine is no fault of what is tested; and two runs of CI try the same examples.
hypothesis.settings.register_profile("turnout", deadline=None, derandomize=IN_CI)
hypothesis.settings.load_profile("turnout")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "may_skip(reason): this test may be skipped in CI too")
    config.addinivalue_line(
        "markers", "contract: a promise of an interface, held by an implementation or caught by a suite"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make contract` runs: the suites of `turnout.testing`, and the tests that they catch broken fakes."""
    for item in items:
        suites = getattr(getattr(item, "cls", None), "__mro__", ())
        held = any(suite.__module__.startswith("turnout.testing.") for suite in suites)
        if held or item.path.stem.endswith("_contract_catches"):
            item.add_marker("contract")
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: not item.nodeid.startswith(LONG))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """The tests of a file run in one process, which makes what they share once; those that take long wherever there is time."""
    from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]  # it ships no types

    scheduling = LoadFileScheduling(config, log)
    by_file = scheduling._split_scope
    scheduling._split_scope = lambda nodeid: nodeid if nodeid.startswith(LONG) else by_file(nodeid)
    return scheduling


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail") and item.get_closest_marker("may_skip") is None:
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where everything has to be there: {_reason(report)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if IN_CI and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where everything has to be there: {_reason(report)}"
    return report


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
