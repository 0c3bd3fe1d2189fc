"""Whether services and flows fit the targets that settings choose for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from turnout.config import LimitSettings, RunnerSettings, ServiceSettings, Settings, StoresSettings
from turnout.deploy.fit import Finding, fit, shown_bytes, shown_time
from turnout.deploy.flows import BusyLoop, FlowUse, flow_use
from turnout.interfaces.deployment import ServiceShape
from turnout.interfaces.opening import Openable
from turnout.interfaces.records import ExecutionChange, RecordBatch
from turnout.interfaces.sandbox import Privilege
from turnout.interfaces.service import Needs, Service
from turnout.interfaces.target import Target, TargetLimits
from turnout.local.file_payloads import FilePayloads
from turnout.local.memory_records import MemoryRecords
from turnout.local.process_sandbox import ProcessSandbox
from turnout.local.sqlite_queue import SQLiteQueue
from turnout.local.target import LocalTarget
from turnout.model.definition import Flow, Integration
from turnout.model.execution import ExecutionInfo, Status, StepRecord, StepStatus
from turnout.services.logs.otlp_logs import OtlpLogs
from turnout.values import Value


class Minutes(Target):
    """A target of short calls, as functions in a cloud are."""

    name: ClassVar[str] = "minutes"
    limits: ClassVar[TargetLimits] = TargetLimits(
        call_s=900.0,
        request_bytes=6_000_000,
        memory_bytes=2_000_000_000,
        long_polling=False,
        long_lived=False,
        queues=frozenset({"calls"}),
        privileges=frozenset(),
    )

    async def serve(self, services: Sequence[Service], *, host: str, port: int) -> None:
        raise AssertionError("it is only described")


class Rooted(ProcessSandbox):
    privileges = frozenset({Privilege.CHROOT})


TARGETS: Mapping[str, type[Target]] = {"local": LocalTarget, "minutes": Minutes}
RUNNER = ServiceShape(name="runner")
INGRESS = ServiceShape(name="ingress", needs=Needs(call_s=300.0, bodies=True))


def placed(target: str, service: str = "runner", *, memory_bytes: int | None = None) -> Settings:
    return Settings(root=Path("/"), services={service: ServiceSettings(target=target, memory_bytes=memory_bytes)})


def settings_of(found: Sequence[Finding]) -> list[str]:
    return [finding.setting for finding in found]


def test_everything_fits_one_machine() -> None:
    use = FlowUse(integration="a", flow="b", timeout_s=1e6, busy_s=1e6, executions=1)
    services = [replace(RUNNER, needs=Needs(call_s=1e9, bodies=True, long_lived=True)), INGRESS]

    assert fit(Settings(root=Path("/")), services, TARGETS, sandbox=Rooted, flows=[use], code=True) == []


def test_a_service_that_works_between_calls_does_not_fit_where_no_process_lives_on() -> None:
    [finding] = fit(
        placed("minutes", "metadata"), [ServiceShape(name="metadata", needs=Needs(long_lived=True))], TARGETS
    )

    assert (finding.severity, finding.setting) == ("error", "services.metadata.target")
    assert "'minutes' does not live on" in finding.message


def test_a_call_longer_than_the_target_lets_it_take_does_not_fit() -> None:
    [finding] = fit(placed("minutes", "alerts"), [ServiceShape(name="alerts", needs=Needs(call_s=1200.0))], TARGETS)

    assert "a call of it takes up to 20 min, and 'minutes' ends one after 15 min" in finding.message


def test_requests_larger_than_the_target_passes_on_are_found() -> None:
    [finding] = fit(placed("minutes", "ingress"), [INGRESS], TARGETS)
    small = replace(placed("minutes", "ingress"), limits=LimitSettings(request_bytes=6_000_000))

    assert finding.setting == "limits.request"
    assert "up to 500 MB" in finding.message
    assert "passes on 6 MB" in finding.message
    assert fit(small, [INGRESS], TARGETS) == []


def test_more_memory_than_the_target_has_is_found() -> None:
    [finding] = fit(placed("minutes", "alerts", memory_bytes=4_000_000_000), [ServiceShape(name="alerts")], TARGETS)

    assert (finding.setting, finding.message) == (
        "services.alerts.memory",
        "4 GB are asked for, and 'minutes' gives 2 GB",
    )


def test_names_that_are_not_there_are_named_with_the_nearest() -> None:
    found = fit(placed("minute", "ruNner"), [RUNNER], TARGETS) + fit(placed("minute"), [RUNNER], TARGETS)

    assert "did you mean 'runner'?" in found[0].message
    assert "did you mean 'minutes'?" in found[1].message


def test_a_runner_is_refused_where_it_may_not_wait_at_its_queue() -> None:
    assert settings_of(fit(placed("minutes"), [RUNNER], TARGETS)) == ["services.runner.target"]


def test_a_sandbox_needs_privileges_that_its_target_gives_only_where_there_is_code() -> None:
    settings = placed("minutes")

    with_code = fit(settings, [RUNNER], TARGETS, sandbox=Rooted, code=True)
    without = fit(settings, [RUNNER], TARGETS, sandbox=Rooted)

    assert "needs chroot, which 'minutes' does not allow" in with_code[1].message
    assert settings_of(without) == ["services.runner.target"]


def test_sandboxes_that_may_take_more_memory_than_there_is_are_warned_of() -> None:
    settings = replace(placed("local", memory_bytes=2_000_000_000), runner=RunnerSettings(concurrency=16))

    [finding] = fit(settings, [RUNNER], TARGETS, sandbox=ProcessSandbox, code=True)

    assert finding.severity == "warning"
    assert "need 4.3 GB, and it has 2 GB: at most 7 at once fit for certain" in finding.message


def test_a_flow_that_took_twenty_minutes_over_500_files_does_not_fit_fifteen() -> None:
    use = FlowUse(
        integration="orders",
        flow="sync",
        executions=3,
        longest="01J",
        busy_s=1212.0,
        loop=BusyLoop(step="each", items=500, took_s=1200.0),
    )

    finding = fit(placed("minutes"), [RUNNER], TARGETS, flows=[use])[-1]

    assert (finding.severity, finding.flow) == ("error", "orders/sync")
    assert finding.message == (
        "it took 20 min 12 s, 20 min of it in the loop 'each' over 500 items, 2.4 s each (execution 01J), and 'minutes' ends a "
        "call after 15 min: 370 items would fit, or place the runner elsewhere"
    )


def test_a_flow_that_may_take_longer_than_any_has_is_warned_of() -> None:
    use = FlowUse(integration="orders", flow="sync", timeout_s=3600.0, executions=8, longest="01J", busy_s=30.0)

    finding = fit(placed("minutes"), [RUNNER], TARGETS, flows=[use])[-1]

    assert finding.severity == "warning"
    assert "may take 1 h (its `timeout`; the longest of 8 took 30 s)" in finding.message


async def test_what_executions_took_is_read_from_their_records_without_waits() -> None:
    records = MemoryRecords()
    trigger = Value(None).encode()
    took = {"quick": (10.0, 0.0), "long": (1312.0, 100.0)}
    for position, (id, (seconds, waited)) in enumerate(took.items(), start=1):
        info = ExecutionInfo(
            id=id,
            tenant="acme",
            instance="orders",
            integration="orders",
            version="1.0.0",
            bundle="b",
            flow="sync",
            settings="s",
            trigger=trigger,
            created_at=1000.0,
        )
        change = ExecutionChange(
            id=id, info=info, status=Status.SUCCEEDED, started_at=1000.0, ended_at=1000.0 + seconds
        )
        steps = [step("each", "loop", 1200.0), step("pause", "wait", waited)]
        steps += [step(f"each[{index}].get", "action", 2.0) for index in (0, 499)]
        await records.apply(
            RecordBatch(position=position, executions=(change,), steps=tuple((id, one) for one in steps))
        )
    flow = Flow(name="sync", timeout_s=7200.0)

    use = await flow_use(Integration(name="orders", flows=[flow]), flow, records)

    assert (use.executions, use.longest, use.busy_s, use.timeout_s) == (2, "long", 1212.0, 7200.0)
    assert use.loop == BusyLoop(step="each", items=500, took_s=1200.0)


async def test_a_flow_that_has_not_run_says_so() -> None:
    flow = Flow(name="sync")

    use = await flow_use(Integration(name="orders", flows=[flow]), flow, MemoryRecords())

    assert use == FlowUse(integration="orders", flow="sync")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "0.25 s"), (59.0, "59 s"), (900.0, "15 min"), (1212.0, "20 min 12 s"), (7500.0, "2 h 5 min")],
)
def test_times_are_said_in_words(seconds: float, text: str) -> None:
    assert shown_time(seconds) == text


@pytest.mark.parametrize(("size", "text"), [(512, "512 B"), (6_000_000, "6 MB"), (10_240_000_000, "10.2 GB")])
def test_sizes_are_said_in_words(size: int, text: str) -> None:
    assert shown_bytes(size) == text


def step(path: str, kind: str, seconds: float) -> StepRecord:
    return StepRecord(path=path, kind=kind, status=StepStatus.SUCCEEDED, started_at=1000.0, duration_ms=seconds * 1000)


def test_data_on_one_machine_are_out_of_reach_elsewhere() -> None:
    class Elsewhere(Target):
        name: ClassVar[str] = "elsewhere"
        limits: ClassVar[TargetLimits] = TargetLimits(keeps_files=False)

    backends: dict[str, type[Openable]] = {
        "stores.queue": SQLiteQueue,
        "stores.payloads": FilePayloads,
        "logs.a.kind": OtlpLogs,
    }
    places: dict[str, type[Target]] = {"elsewhere": Elsewhere, "local": LocalTarget}

    [finding] = fit(placed("elsewhere", "alerts"), [ServiceShape(name="alerts"), INGRESS], places, backends=backends)

    assert (finding.service, finding.severity, finding.setting) == ("alerts", "error", "stores.queue")
    assert "a service on 'elsewhere' does not see: `stores.queue`, `stores.payloads`" in finding.message


def test_a_runner_that_works_in_calls_is_called_by_its_queue_or_once_a_minute_and_hands_long_flows_on() -> None:
    in_calls = replace(RUNNER, needs=Needs(long_lived=True, in_calls=True))
    use = FlowUse(integration="orders", flow="sync", executions=3, longest="01J", busy_s=1212.0)

    [late, long] = fit(placed("minutes"), [in_calls], TARGETS, flows=[use])
    assert (late.severity, late.setting) == ("warning", "stores.queue")
    assert "executions begin up to a minute late: `calls` would call it at once" in late.message
    assert (long.severity, long.flow) == ("warning", "orders/sync")
    assert (
        "it took 20 min 12 s (execution 01J), and 'minutes' ends a call after 15 min; what is left then goes on"
        in long.message
    )
    called = replace(placed("minutes"), stores=StoresSettings(queue="calls"))
    assert fit(called, [in_calls], TARGETS) == []
