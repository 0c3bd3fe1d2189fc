"""The contract suite is not green by nature: a sandbox that breaks one promise fails that promise's test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from turnout.interfaces.sandbox import CodeBundle, Failure, Job, Limits, Outcome, Sandbox, SandboxHandle, Success
from turnout.local.process_sandbox import ProcessSandbox
from turnout.model.execution import LogLine, SandboxReceipt
from turnout.model.payload import Encoded, File
from turnout.testing.sandbox import SandboxContract

from ..local.contract_runs import run_contract


class Honest(SandboxHandle):
    """Passes everything through to a real handle; broken ones override one thing."""

    def __init__(self, inner: SandboxHandle) -> None:
        self.inner = inner

    @property
    def usable(self) -> bool:
        return self.inner.usable

    async def run(self, job: Job) -> Outcome:
        return self.changed(await self.inner.run(self.given(job)))

    def receipt(self) -> SandboxReceipt:
        return self.inner.receipt()

    async def release(self) -> None:
        await self.inner.release()

    def given(self, job: Job) -> Job:
        return job

    def changed(self, outcome: Outcome) -> Outcome:
        return outcome


class Wrapped(Sandbox):
    isolates = frozenset()
    languages = frozenset({"javascript"})

    def __init__(self, handle: Callable[[SandboxHandle], SandboxHandle] = Honest) -> None:
        self.inner = ProcessSandbox(warm_floor=1, warm_ceiling=2)
        self.handle = handle

    async def start(self) -> Sequence[str]:
        return await self.inner.start()

    async def acquire(self, tenant: str, bundle: CodeBundle, limits: Limits) -> SandboxHandle:
        return self.handle(await self.inner.acquire(tenant, bundle, limits))

    async def close(self) -> None:
        await self.inner.close()


MakeSandbox = Callable[[], Wrapped]
Change = Callable[[Outcome], Outcome]


def broken_handle(**methods: Any) -> MakeSandbox:
    return lambda: Wrapped(type("Broken", (Honest,), methods))


def outcomes(change: Change) -> MakeSandbox:
    return broken_handle(changed=lambda self, outcome: change(outcome))


def jobs(change: Callable[[Job], Job]) -> MakeSandbox:
    return broken_handle(given=lambda self, job: change(job))


def successes(**fields: Any) -> MakeSandbox:
    return outcomes(lambda outcome: replace(outcome, **fields) if isinstance(outcome, Success) else outcome)


def failures(**fields: Any) -> MakeSandbox:
    return outcomes(lambda outcome: replace(outcome, **fields) if isinstance(outcome, Failure) else outcome)


def as_success(outcome: Outcome) -> Success:
    return Success(output=Encoded(json=b"null"), cpu_ms=0, network=False)


class Undeclared(Wrapped):
    isolates = frozenset({"everything"})  # type: ignore[arg-type]  # wrong on purpose


class Kept(Honest):
    async def release(self) -> None:
        pass


class OneForAll(Wrapped):
    """The first handle serves everybody."""

    shared: SandboxHandle | None = None

    async def acquire(self, tenant: str, bundle: CodeBundle, limits: Limits) -> SandboxHandle:
        self.shared = self.shared or await self.inner.acquire(tenant, bundle, limits)
        return Kept(self.shared)


class Unlimited(Wrapped):
    async def acquire(self, tenant: str, bundle: CodeBundle, limits: Limits) -> SandboxHandle:
        wide = replace(limits, result_bytes=10**8, log_bytes=10**8, files=10**8, files_bytes=10**12)
        return await self.inner.acquire(tenant, bundle, wide)


class CloseOnce(Wrapped):
    closed = False

    async def close(self) -> None:
        await self.inner.close()
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True


async def release_once(self: Honest) -> None:
    if not self.inner.usable:
        raise RuntimeError("released already")
    await self.inner.release()


async def deaf_to_cancel(self: Honest, job: Job) -> Outcome:
    return await asyncio.shield(asyncio.ensure_future(self.inner.run(job)))


async def fresh_each_time(self: Honest, job: Job) -> Outcome:
    await self.inner.run(job)
    return Success(output=Encoded(json=b"1"), cpu_ms=0, network=False)


class CountsSuccesses(Honest):
    succeeded = 0

    def changed(self, outcome: Outcome) -> Outcome:
        self.succeeded += isinstance(outcome, Success)
        return outcome

    def receipt(self) -> SandboxReceipt:
        return replace(self.inner.receipt(), jobs=self.succeeded)


class AsksTheCode(Honest):
    cpu_ms = 0.0

    def changed(self, outcome: Outcome) -> Outcome:
        self.cpu_ms += outcome.cpu_ms if isinstance(outcome, Success) else 0.0
        return outcome

    def receipt(self) -> SandboxReceipt:
        return replace(self.inner.receipt(), cpu_ms=self.cpu_ms, peak_memory_bytes=50_000_000)


def other_files(outcome: Outcome) -> Outcome:
    if not isinstance(outcome, Success):
        return outcome
    files = tuple((way, File(sha256="0" * 64, size=1, name="other")) for way, _ in outcome.output.files)
    return replace(outcome, output=replace(outcome.output, files=files))


def loud(job: Job) -> Job:
    def log(line: LogLine) -> None:
        job.log(replace(line, level="info"))

    return replace(job, log=log)


def leaky(job: Job) -> Job:
    return replace(job, input=Encoded(json=b"null"))


BROKEN: dict[str, MakeSandbox] = {
    "isolation_and_languages_are_declared": Undeclared,
    "the_default_export_is_called_with_input_and_context": jobs(leaky),
    "an_async_function_is_waited_for": successes(output=Encoded(json=b"{}")),
    "undefined_becomes_null": successes(output=Encoded(json=b"")),
    "integers_keep_every_digit": successes(output=Encoded(json=b'{"same":1.2e19,"next":1.2e19}')),
    "log_lines_come_in_order_with_their_level": jobs(loud),
    "a_log_without_end_is_cut": Unlimited,
    "a_thrown_error_has_its_name_and_the_customers_frames": failures(stack="at node:internal/x:1:1"),
    "a_thrown_text_is_a_failure_too": outcomes(as_success),
    "code_that_cannot_be_loaded_fails_with_import": failures(kind="SyntaxError"),
    "a_missing_default_export_is_named": failures(kind="TypeError"),
    "a_result_that_is_not_json_fails": outcomes(as_success),
    "a_result_beyond_the_limit_fails": Unlimited,
    "a_busy_loop_is_ended_at_the_time_out": broken_handle(usable=True),
    "a_promise_that_never_settles_does_not_wait_for_the_time_out": outcomes(as_success),
    "memory_is_limited": failures(kind="crashed"),
    "ending_the_process_is_a_failure_and_the_handle_is_spent": broken_handle(usable=True),
    "jobs_of_one_handle_share_globals": broken_handle(run=fresh_each_time),
    "nothing_of_an_earlier_handle_can_be_seen": OneForAll,
    "cancelling_ends_the_job_at_once": broken_handle(run=deaf_to_cancel),
    "releasing_twice_is_releasing_once": broken_handle(release=release_once),
    "closing_twice_is_closing_once": CloseOnce,
    "files_are_read_and_made": outcomes(other_files),
    "files_beyond_their_number_fail": Unlimited,
    "files_beyond_their_size_fail": Unlimited,
    "no_environment_of_ours_is_seen": successes(output=Encoded(json=b'"hunter2"')),
    "a_job_without_a_connection_says_so": successes(network=True),
    "a_receipt_says_what_ran_where": lambda: Wrapped(CountsSuccesses),
    "a_receipt_is_measured_from_outside": lambda: Wrapped(AsksTheCode),
}


def promises() -> list[str]:
    return [name.removeprefix("test_") for name in vars(SandboxContract) if name.startswith("test_")]


def test_every_promise_has_a_broken_fake() -> None:
    assert set(promises()) == set(BROKEN)


@pytest.mark.parametrize("promise", promises())
async def test_a_sandbox_that_breaks_it_is_caught(
    promise: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = BROKEN[promise]()
    await sandbox.start()
    fixtures = {"sandbox": sandbox, "tmp_path": tmp_path, "monkeypatch": monkeypatch}

    try:
        with pytest.raises((AssertionError, RuntimeError, ValueError)):
            await run_contract(SandboxContract, promise, lambda: fixtures)
    finally:
        await sandbox.inner.close()


@pytest.mark.parametrize("promise", promises())
async def test_the_same_wrapper_unbroken_passes(promise: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = Wrapped()
    await sandbox.start()
    fixtures = {"sandbox": sandbox, "tmp_path": tmp_path, "monkeypatch": monkeypatch}

    try:
        await run_contract(SandboxContract, promise, lambda: fixtures)
    finally:
        await sandbox.inner.close()
