"""The contract suite for Python is not green by nature either: a sandbox that breaks one promise fails that promise's test."""

from __future__ import annotations

from pathlib import Path

import pytest
from turnout.model.payload import Encoded
from turnout.testing.python_sandbox import PythonSandboxContract

from ..local.contract_runs import run_contract
from .test_sandbox_contract_catches import (
    Honest,
    MakeSandbox,
    OneForAll,
    Unlimited,
    Wrapped,
    as_success,
    broken_handle,
    deaf_to_cancel,
    failures,
    jobs,
    leaky,
    loud,
    other_files,
    outcomes,
    successes,
)


class Python(Wrapped):
    languages = frozenset({"javascript", "python"})


NULL = successes(output=Encoded(json=b"null"))
BROKEN: dict[str, MakeSandbox] = {
    "python_is_declared": lambda: Wrapped(Honest),
    "main_is_called_with_input_and_context": jobs(leaky),
    "main_may_take_less": NULL,
    "an_async_main_is_waited_for": successes(output=Encoded(json=b"{}")),
    "integers_keep_every_digit": successes(output=Encoded(json=b'{"same":1.2e19}')),
    "log_lines_come_in_order_with_their_level": jobs(loud),
    "a_log_without_end_is_cut": Unlimited,
    "an_exception_has_its_name_and_the_customers_frames": failures(stack="KeyError: 'y'"),
    "code_that_cannot_be_loaded_fails_with_import": failures(kind="SyntaxError"),
    "a_missing_main_is_named": failures(kind="AttributeError"),
    "a_neighbour_and_the_standard_library_can_be_imported": NULL,
    "a_module_imported_late_is_found": NULL,
    "a_result_that_is_not_json_fails": outcomes(as_success),
    "a_result_beyond_the_limit_fails": Unlimited,
    "a_busy_loop_is_ended_at_the_time_out": broken_handle(usable=True),
    "memory_is_limited": failures(kind="crashed"),
    "ending_the_process_is_a_failure_and_the_handle_is_spent": broken_handle(usable=True),
    "jobs_of_one_handle_share_globals_and_no_other_sees_them": OneForAll,
    "cancelling_ends_the_job_at_once": broken_handle(run=deaf_to_cancel),
    "files_are_read_and_made": outcomes(other_files),
    "files_beyond_their_number_fail": Unlimited,
    "files_beyond_their_size_fail": Unlimited,
    "no_environment_of_ours_is_seen": successes(output=Encoded(json=b'{"SECRET":"hunter2"}')),
    "a_job_without_a_connection_says_so": successes(network=True),
}


def promises() -> list[str]:
    return [name.removeprefix("test_") for name in vars(PythonSandboxContract) if name.startswith("test_")]


def test_every_promise_has_a_broken_fake() -> None:
    assert set(promises()) == set(BROKEN)


@pytest.mark.parametrize("promise", promises())
async def test_a_sandbox_that_breaks_it_is_caught(
    promise: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = BROKEN[promise]()
    fixtures = {"sandbox": sandbox, "tmp_path": tmp_path, "monkeypatch": monkeypatch}

    try:
        with pytest.raises((AssertionError, RuntimeError, ValueError)):
            await run_contract(PythonSandboxContract, promise, lambda: fixtures)
    finally:
        await sandbox.inner.close()


@pytest.mark.parametrize("promise", promises())
async def test_the_same_wrapper_unbroken_passes(promise: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = Python()
    made = iter(range(100))

    def fixtures() -> dict[str, object]:
        folder = tmp_path / str(next(made))
        return {"sandbox": sandbox, "tmp_path": folder, "monkeypatch": monkeypatch}

    try:
        await run_contract(PythonSandboxContract, promise, fixtures)
    finally:
        await sandbox.inner.close()
