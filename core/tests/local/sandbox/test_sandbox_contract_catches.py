"""The contract suite is not green by nature: a sandbox that breaks one promise fails that promise's test."""

import asyncio
import inspect
from dataclasses import replace

import pytest
from turnout.interfaces.sandbox import Failure, Sandbox, SandboxHandle, Success
from turnout.local.sandbox import ProcessSandbox
from turnout.model.execution import LogLine
from turnout.model.payload import Encoded, File
from turnout.testing.sandbox import SandboxContract


class Honest(SandboxHandle):
    """Passes everything through to a real handle; broken ones override one thing."""

    def __init__(self, inner):
        self.inner = inner

    @property
    def usable(self):
        return self.inner.usable

    async def run(self, job):
        return self.changed(await self.inner.run(self.given(job)))

    async def release(self):
        await self.inner.release()

    def given(self, job):
        return job

    def changed(self, outcome):
        return outcome


class Wrapped(Sandbox):
    isolates = frozenset()
    languages = frozenset({"javascript"})

    def __init__(self, handle=Honest):
        self.inner = ProcessSandbox(warm_floor=1, warm_ceiling=2)
        self.handle = handle

    async def start(self):
        return await self.inner.start()

    async def acquire(self, tenant, bundle, limits):
        return self.handle(await self.inner.acquire(tenant, bundle, limits))

    async def close(self):
        await self.inner.close()


def broken_handle(**methods):
    return lambda: Wrapped(type("Broken", (Honest,), methods))


def outcomes(change):
    return broken_handle(changed=lambda self, outcome: change(outcome))


def jobs(change):
    return broken_handle(given=lambda self, job: change(job))


def successes(**fields):
    return outcomes(lambda outcome: replace(outcome, **fields) if isinstance(outcome, Success) else outcome)


def failures(**fields):
    return outcomes(lambda outcome: replace(outcome, **fields) if isinstance(outcome, Failure) else outcome)


def as_success(outcome):
    return Success(output=Encoded(json=b"null"), cpu_ms=0, network=False)


class Undeclared(Wrapped):
    isolates = frozenset({"everything"})  # type: ignore[arg-type]


class OneForAll(Wrapped):
    """The first handle serves everybody."""

    shared = None

    async def acquire(self, tenant, bundle, limits):
        self.shared = self.shared or await self.inner.acquire(tenant, bundle, limits)
        return type("Kept", (Honest,), {"release": no_release})(self.shared)


class Unlimited(Wrapped):
    async def acquire(self, tenant, bundle, limits):
        wide = replace(limits, result_bytes=10**8, log_bytes=10**8, memory_bytes=limits.memory_bytes)
        return await self.inner.acquire(tenant, bundle, wide)


class CloseOnce(Wrapped):
    closed = False

    async def close(self):
        await self.inner.close()
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True


async def no_release(self):
    return None


async def release_once(self):
    if not self.inner.usable:
        raise RuntimeError("released already")
    await self.inner.release()


async def deaf_to_cancel(self, job):
    return await asyncio.shield(asyncio.ensure_future(self.inner.run(job)))


async def fresh_each_time(self, job):
    return replace(await self.inner.run(job), output=Encoded(json=b"1"))


def other_files(outcome):
    if not isinstance(outcome, Success):
        return outcome
    files = tuple((way, File(sha256="0" * 64, size=1, name="other")) for way, _ in outcome.output.files)
    return replace(outcome, output=replace(outcome.output, files=files))


def loud(job):
    def log(line: LogLine):
        job.log(replace(line, level="info"))

    return replace(job, log=log)


def leaky(job):
    return replace(job, input=Encoded(json=b"null"))


BROKEN = {
    "test_isolation_and_languages_are_declared": Undeclared,
    "test_the_default_export_is_called_with_input_and_context": jobs(leaky),
    "test_an_async_function_is_waited_for": successes(output=Encoded(json=b"{}")),
    "test_undefined_becomes_null": successes(output=Encoded(json=b"")),
    "test_integers_keep_every_digit": successes(output=Encoded(json=b'{"same":1.2e19,"next":1.2e19}')),
    "test_log_lines_come_in_order_with_their_level": jobs(loud),
    "test_a_log_without_end_is_cut": Unlimited,
    "test_a_thrown_error_has_its_name_and_the_customers_frames": failures(stack="at node:internal/x:1:1"),
    "test_a_thrown_text_is_a_failure_too": outcomes(as_success),
    "test_code_that_cannot_be_loaded_fails_with_import": failures(kind="SyntaxError"),
    "test_a_missing_default_export_is_named": failures(kind="TypeError"),
    "test_a_result_that_is_not_json_fails": outcomes(as_success),
    "test_a_result_beyond_the_limit_fails": Unlimited,
    "test_a_busy_loop_is_ended_at_the_time_out": broken_handle(usable=True),
    "test_a_promise_that_never_settles_does_not_wait_for_the_time_out": outcomes(as_success),
    "test_memory_is_limited": failures(kind="crashed"),
    "test_ending_the_process_is_a_failure_and_the_handle_is_spent": broken_handle(usable=True),
    "test_jobs_of_one_handle_share_globals": broken_handle(run=fresh_each_time),
    "test_nothing_of_an_earlier_handle_can_be_seen": OneForAll,
    "test_cancelling_ends_the_job_at_once": broken_handle(run=deaf_to_cancel),
    "test_releasing_twice_is_releasing_once": broken_handle(release=release_once),
    "test_closing_twice_is_closing_once": CloseOnce,
    "test_files_are_read_and_made": outcomes(other_files),
    "test_no_environment_of_ours_is_seen": successes(output=Encoded(json=b'"hunter2"')),
    "test_a_job_without_a_connection_says_so": successes(network=True),
}


def promises():
    return [name for name in vars(SandboxContract) if name.startswith("test_")]


def arguments(test, sandbox, tmp_path, monkeypatch):
    """What pytest would give the test; of parametrised ones the first case is enough."""
    known = {
        "sandbox": sandbox,
        "tmp_path": tmp_path,
        "monkeypatch": monkeypatch,
        "source": "export default () => {",
        "result": "() => 1",
    }
    return {name: known[name] for name in inspect.signature(test).parameters if name in known}


def test_every_promise_has_a_broken_fake():
    assert set(promises()) == set(BROKEN)


@pytest.mark.parametrize("promise", promises())
async def test_a_sandbox_that_breaks_it_is_caught(promise, tmp_path, monkeypatch):
    sandbox = BROKEN[promise]()
    await sandbox.start()
    test = getattr(SandboxContract(), promise)

    try:
        with pytest.raises((AssertionError, RuntimeError, ValueError)):
            await test(**arguments(test, sandbox, tmp_path, monkeypatch))
    finally:
        await sandbox.inner.close()


@pytest.mark.parametrize("promise", promises())
async def test_the_same_wrapper_unbroken_passes(promise, tmp_path, monkeypatch):
    sandbox = Wrapped()
    await sandbox.start()
    test = getattr(SandboxContract(), promise)

    try:
        await test(**arguments(test, sandbox, tmp_path, monkeypatch))
    finally:
        await sandbox.inner.close()
