"""A service's tasks: what runs in their container, with which rights."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from turnout.errors import SettingsError
from turnout.interfaces.deployment import Deployment, Placed, Resource

from turnout_ecs.fargate.log_router import log_configuration, routers
from turnout_ecs.fargate.options import EcsOptions
from turnout_ecs.fargate.sizes import size_of

__all__ = ["PORT", "RECOVERY", "RUNNER", "Task", "secret_parameter", "task_definition", "tasks_of"]

RUNNER: Final = "runner"
RECOVERY: Final = "recovery"
"""It is part of every worker, and has no process of its own."""
PORT: Final = 8400
_HEALTH: Final = 8480
_EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - within the task's own network interface, which security groups guard
_GRANTED: Final = (
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
)
"""What Fargate gives a container; none of these can be added once it is dropped, so what a worker keeps is never named."""
_KEPT: Final = frozenset({"KILL", "SETGID", "SETUID", "SYS_CHROOT"})
"""What the sandbox `chroot` takes."""
_NOBODY: Final = "65534:65534"
"""Who runs what locks nobody in: the image lets anybody write to its volume."""
_STOP_S: Final = 120
"""The longest that Fargate waits, above what a worker may be told to drain for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """`id` is what ids of its resources in the template begin with, `name` what people see."""

    service: str
    id: str
    name: str
    cpu: int
    memory_mb: int
    processes: int
    port: int | None
    """Where its routes are answered."""


def tasks_of(deployment: Deployment, options: EcsOptions) -> tuple[Task, ...]:
    """One for each service that has processes of its own. `SettingsError` names a service that does not fit."""
    names = {placed.shape.name for placed in deployment.services}
    if RECOVERY in names and RUNNER not in names:
        raise SettingsError(
            "services.recovery.target: recovery runs in the runner's workers: place `services.runner` here, and package both",
            setting="services.recovery.target",
        )
    found: dict[str, Task] = {}
    for placed in sorted(deployment.services, key=lambda placed: placed.shape.name):
        if placed.shape.name == RECOVERY:
            continue
        task = _task(deployment, placed, options)
        other = found.setdefault(task.id, task)
        if other is not task:
            raise SettingsError(
                f"{task.service} and {other.service} would be the same resources: rename one",
                setting=f"services.{task.service}.target",
            )
    return tuple(found.values())


def _task(deployment: Deployment, placed: Placed, options: EcsOptions) -> Task:
    service = placed.shape.name
    words = _words(service)
    asked = options.memory if placed.memory_bytes is None else math.ceil(placed.memory_bytes / 1024**2)
    try:
        cpu, memory_mb = size_of(asked, options.cpu.get(service, 256))
    except ValueError as error:
        setting = f"services.{service}.memory"
        raise SettingsError(f"{setting}: {error}: 122880 MB are the most", setting=setting) from None
    return Task(
        service=service,
        id="".join(word.capitalize() for word in words),
        name="-".join([*_words(deployment.project), *_words(deployment.environment), *words]),
        cpu=cpu,
        memory_mb=memory_mb,
        processes=1 if placed.processes is None else placed.processes,
        port=PORT if placed.shape.routes and service != RUNNER else None,
    )


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[^A-Za-z0-9]+", text.lower()) if word]


def secret_parameter(variable: str) -> str:
    return "".join(word.capitalize() for word in variable.split("_")) + "Secret"


def task_definition(
    deployment: Deployment, task: Task, options: EcsOptions, tags: Sequence[Mapping[str, str]]
) -> Resource:
    disk = {} if options.disk is None else {"EphemeralStorage": {"SizeInGiB": options.disk}}
    return Resource(
        id=f"{task.id}Task",
        type="AWS::ECS::TaskDefinition",
        properties={
            "Family": task.name,
            "RequiresCompatibilities": ["FARGATE"],
            "NetworkMode": "awsvpc",
            "Cpu": str(task.cpu),
            "Memory": str(task.memory_mb),
            **disk,
            "RuntimePlatform": {
                "CpuArchitecture": "ARM64" if options.architecture == "arm64" else "X86_64",
                "OperatingSystemFamily": "LINUX",
            },
            "ExecutionRoleArn": {"Fn::GetAtt": [f"{task.id}ExecutionRole", "Arn"]},
            "TaskRoleArn": {"Fn::GetAtt": [f"{task.id}TaskRole", "Arn"]},
            "Volumes": [{"Name": "storage"}],
            "ContainerDefinitions": [_container(deployment, task, options), *routers(task, options)],
            "Tags": list(tags),
        },
    )


def _container(deployment: Deployment, task: Task, options: EcsOptions) -> Mapping[str, Any]:
    environment = [{"Name": "TURNOUT_ENV", "Value": deployment.environment}] if deployment.environment else []
    ports = [] if task.port is None else [{"ContainerPort": task.port, "Protocol": "tcp"}]
    return {
        "Name": task.name,
        "Image": {"Ref": "Image"},
        "Essential": True,
        **({} if task.service == RUNNER else {"User": _NOBODY}),
        "Command": list(_command(task)),
        "Environment": environment,
        "Secrets": [{"Name": name, "ValueFrom": {"Ref": secret_parameter(name)}} for name in deployment.variables],
        "PortMappings": ports,
        "MountPoints": [{"SourceVolume": "storage", "ContainerPath": options.storage, "ReadOnly": False}],
        "ReadonlyRootFilesystem": True,
        "LinuxParameters": {"InitProcessEnabled": True, "Capabilities": {"Drop": list(_dropped(task))}},
        "StopTimeout": _STOP_S,
        "HealthCheck": {
            "Command": ["CMD", "python", "-c", _check(task)],
            "Interval": 15,
            "Timeout": 10,
            "Retries": 4,
            "StartPeriod": 60,
        },
        "LogConfiguration": log_configuration(deployment, task, options),
    }


def _command(task: Task) -> Iterator[str]:
    if task.service == RUNNER:
        yield from ("worker", "--health", f"{_EVERYWHERE}:{_HEALTH}")
        return
    yield from ("service", "run", task.service, "--host", _EVERYWHERE, "--port", str(PORT))


def _dropped(task: Task) -> Iterator[str]:
    if task.service != RUNNER:
        yield "ALL"
        return
    yield from (name for name in _GRANTED if name not in _KEPT)


def _check(task: Task) -> str:
    """In Python, as the image has no curl. A worker must say that it is well; of another service any answer shows that its
    loop goes round, as it may have no such route."""
    if task.service == RUNNER:
        return f"import urllib.request as r; r.urlopen('http://127.0.0.1:{_HEALTH}/healthz', timeout=8)"
    return (
        f"import http.client as h; c = h.HTTPConnection('127.0.0.1', {PORT}, timeout=8); "
        "c.request('GET', '/healthz'); c.getresponse()"
    )
