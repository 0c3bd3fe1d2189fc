"""Whether each service fits the target that the settings choose for it: what would fail at run time is refused before."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from turnout.config import Settings
from turnout.deploy.flows import FlowUse
from turnout.interfaces.deployment import ServiceShape
from turnout.interfaces.opening import Openable
from turnout.interfaces.sandbox import Sandbox
from turnout.interfaces.target import Target, TargetLimits

__all__ = ["Finding", "fit", "shown_bytes", "shown_time"]

RUNNER: Final = "runner"
_RUNNER_BYTES: Final = 200 * 1000 * 1000
"""What a runner takes beside its sandboxes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that does not fit (`error`) or may not (`warning`). `flow` is `integration/flow` where it is about one;
    `setting` is what to change."""

    severity: Literal["error", "warning"]
    service: str
    message: str
    flow: str = ""
    setting: str = ""


def fit(
    settings: Settings,
    services: Sequence[ServiceShape],
    targets: Mapping[str, type[Target]],
    *,
    backends: Mapping[str, type[Openable]] | None = None,
    sandbox: type[Sandbox] | None = None,
    flows: Sequence[FlowUse] = (),
    code: bool = False,
) -> list[Finding]:
    """Everything that does not fit. `backends` are the chosen ones by their settings. `flows` run in the runner, and `code`
    says whether any has code steps, which then run in `sandbox`."""
    found = list(_unknown(settings, services))
    for service in services:
        name = settings.service(service.name).target
        if name not in targets:
            near = _near(name, targets)
            found.append(
                _error(
                    service.name, f"there is no target {name!r}{near}: install the plugin that provides it", "target"
                )
            )
            continue
        found += _misfits(settings, service, name, targets[name].limits)
        found += _out_of_reach(service, name, targets[name].limits, backends or {})
        if service.name == RUNNER:
            found += _waiting(settings, service, name, targets[name].limits)
            found += _runner_misfits(settings, name, targets[name].limits, sandbox if code else None)
            found += _slow_flows(flows, service, name, targets[name].limits)
    return found


def _unknown(settings: Settings, services: Sequence[ServiceShape]) -> Iterator[Finding]:
    names = [service.name for service in services]
    for name in settings.services:
        if name not in names:
            near = _near(name, names) or f": there are {', '.join(names)}"
            yield Finding(
                severity="error",
                service=name,
                message=f"there is no service {name!r}{near}",
                setting=f"services.{name}",
            )


def _misfits(settings: Settings, service: ServiceShape, target: str, limits: TargetLimits) -> Iterator[Finding]:
    needs, given = service.needs, settings.service(service.name)
    if needs.long_lived and not (limits.long_lived or needs.in_calls):
        yield _error(service.name, f"it works on between calls, and a process on {target!r} does not live on", "target")
    if limits.call_s is not None and needs.call_s > limits.call_s:
        yield _error(
            service.name,
            f"a call of it takes up to {shown_time(needs.call_s)}, and {target!r} ends one after {shown_time(limits.call_s)}",
            "target",
        )
    body = settings.limits.request_bytes if needs.bodies else 0
    if limits.request_bytes is not None and body > limits.request_bytes:
        message = (
            f"it takes requests of up to {shown_bytes(body)} (`limits.request`), and {target!r} passes on "
            f"{shown_bytes(limits.request_bytes)}: larger ones would never arrive; set `limits.request` to that, or move it"
        )
        yield Finding(severity="error", service=service.name, message=message, setting="limits.request")
    if limits.memory_bytes is not None and (given.memory_bytes or 0) > limits.memory_bytes:
        message = f"{shown_bytes(given.memory_bytes or 0)} are asked for, and {target!r} gives {shown_bytes(limits.memory_bytes)}"
        yield _error(service.name, message, "memory")


def _out_of_reach(
    service: ServiceShape, target: str, limits: TargetLimits, backends: Mapping[str, type[Openable]]
) -> Iterator[Finding]:
    settings = [setting for setting, backend in backends.items() if backend.on_this_machine]
    if settings and not limits.keeps_files:
        message = (
            f"what these settings choose keeps its data on one machine, which a service on {target!r} does not see: "
            f"{', '.join(f'`{setting}`' for setting in settings)}"
        )
        yield Finding(severity="error", service=service.name, message=message, setting=settings[0])


def _waiting(settings: Settings, service: ServiceShape, target: str, limits: TargetLimits) -> Iterator[Finding]:
    if limits.long_polling:
        return
    if not service.needs.in_calls:
        yield _error(RUNNER, f"it waits at its queue for executions, which {target!r} does not let it do", "target")
    elif settings.stores.queue not in limits.queues:
        callers = ", ".join(f"`{name}`" for name in sorted(limits.queues)) or "no queue"
        message = (
            f"it may not wait at its queue on {target!r}, and looks there once a minute, so that executions begin up to a minute "
            f"late: {callers} would call it at once"
        )
        yield Finding(severity="warning", service=RUNNER, message=message, setting="stores.queue")


def _runner_misfits(
    settings: Settings, target: str, limits: TargetLimits, sandbox: type[Sandbox] | None
) -> Iterator[Finding]:
    if sandbox is None:
        return
    chosen = settings.runner.sandbox
    missing = sorted(one.value for one in sandbox.privileges - limits.privileges)
    if missing:
        yield Finding(
            severity="error",
            service=RUNNER,
            message=f"the sandbox {chosen!r} needs {' and '.join(missing)}, which {target!r} does not allow: choose another",
            setting="runner.sandbox",
        )
    memory = settings.service(RUNNER).memory_bytes or limits.memory_bytes
    concurrency, each = settings.runner.concurrency, settings.limits.memory_bytes
    needed = _RUNNER_BYTES + concurrency * each
    if memory is not None and needed > memory:
        fits = max(0, (memory - _RUNNER_BYTES) // each)
        yield Finding(
            severity="warning",
            service=RUNNER,
            message=(
                f"{concurrency} executions at once, whose code may take {shown_bytes(each)} each (`limits.memory`), need "
                f"{shown_bytes(needed)}, and it has {shown_bytes(memory)}: at most {fits} at once fit for certain"
            ),
            setting="runner.concurrency",
        )


def _slow_flows(
    flows: Sequence[FlowUse], service: ServiceShape, target: str, limits: TargetLimits
) -> Iterator[Finding]:
    """A runner that works in calls hands what takes longer to the next one, which is no error, and costs."""
    severity: Literal["error", "warning"] = "warning" if service.needs.in_calls else "error"
    for use in flows if limits.call_s is not None else ():
        assert limits.call_s is not None
        name = f"{use.integration}/{use.flow}"
        end = f"{target!r} ends a call after {shown_time(limits.call_s)}"
        if use.busy_s > limits.call_s:
            message = f"it took {shown_time(use.busy_s)}{_looped(use)} (execution {use.longest}), and {end}{_advice(use, limits.call_s)}"
            if service.needs.in_calls:
                message += (
                    "; what is left then goes on in another call, from the last step that ended: a step, or an item of a "
                    "loop, that takes longer than a call never ends"
                )
            yield Finding(
                severity=severity, service=RUNNER, flow=name, message=message, setting=f"services.{RUNNER}.target"
            )
        elif use.timeout_s is not None and use.timeout_s > limits.call_s:
            known = (
                f"the longest of {use.executions} took {shown_time(use.busy_s)}"
                if use.executions
                else "none has run yet"
            )
            message = f"it may take {shown_time(use.timeout_s)} (its `timeout`; {known}), and {end}"
            yield Finding(
                severity="warning", service=RUNNER, flow=name, message=message, setting=f"services.{RUNNER}.target"
            )


def _looped(use: FlowUse) -> str:
    if use.loop is None or not use.loop.items:
        return ""
    each = use.loop.took_s / use.loop.items
    return f", {shown_time(use.loop.took_s)} of it in the loop {use.loop.step!r} over {use.loop.items} items, {shown_time(each)} each"


def _advice(use: FlowUse, call_s: float) -> str:
    """How many items would have fitted, where a loop took most of it."""
    if use.loop is None or not use.loop.items or use.loop.took_s < use.busy_s / 2:
        return ""
    left = call_s - (use.busy_s - use.loop.took_s)
    items = int(max(0.0, left) / (use.loop.took_s / use.loop.items))
    return f": {items} items would fit, or place the runner elsewhere"


def _error(service: str, message: str, setting: str) -> Finding:
    return Finding(severity="error", service=service, message=message, setting=f"services.{service}.{setting}")


def _near(name: str, names: Mapping[str, object] | Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def shown_time(seconds: float) -> str:
    """`0.4 s`, `15 min`, `20 min 12 s`, `2 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    hours, minutes, left = whole // 3600, whole % 3600 // 60, whole % 60
    parts = [(hours, "h"), (minutes, "min"), (0 if hours else left, "s")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def shown_bytes(size: int) -> str:
    """`6 MB`, `10.2 GB`."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size} B"
