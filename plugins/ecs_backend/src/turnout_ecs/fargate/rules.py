"""What Fargate refuses in a template, and what we ask of it: what cfn-lint lets pass would fail when it is deployed.

The limits are those of https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html and of
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from turnout.interfaces.deployment import Resource

from turnout_ecs.fargate.sizes import SIZES

__all__ = ["RULES", "Fault", "Rule", "faults_of"]

TASK: Final = "AWS::ECS::TaskDefinition"
SERVICE: Final = "AWS::ECS::Service"
Properties = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`says` is the rule in words; `broken` yields what in the properties of a resource of that `type` is against it."""

    name: str
    type: str
    says: str
    broken: Callable[[Properties], Iterable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    resource: str
    rule: Rule
    what: str

    def __str__(self) -> str:
        return f"{self.resource}: {self.rule.name}: {self.what}: {self.rule.says}"


def faults_of(resources: Iterable[Resource]) -> tuple[Fault, ...]:
    """Everything in these resources that is against a rule."""
    return tuple(
        Fault(resource=resource.id, rule=rule, what=what)
        for resource in resources
        for rule in RULES
        if rule.type == resource.type
        for what in rule.broken(resource.properties)
    )


def _containers(task: Properties) -> Sequence[Properties]:
    return tuple(task.get("ContainerDefinitions", ()))


def _linux(task: Properties) -> Iterator[Properties]:
    for container in _containers(task):
        yield container.get("LinuxParameters", {})


def _launch(task: Properties) -> Iterator[str]:
    if "FARGATE" not in task.get("RequiresCompatibilities", ()):
        yield "RequiresCompatibilities"
    if task.get("NetworkMode") != "awsvpc":
        yield f"NetworkMode {task.get('NetworkMode')!r}"


def _size(task: Properties) -> Iterator[str]:
    cpu, memory = str(task.get("Cpu", "")), str(task.get("Memory", ""))
    if not (cpu.isdecimal() and memory.isdecimal() and int(memory) in SIZES.get(int(cpu), ())):
        yield f"Cpu {cpu!r} with Memory {memory!r}"


_REFUSED_OF_TASKS: Final = ("IpcMode", "PlacementConstraints", "InferenceAccelerators")
_REFUSED_OF_CONTAINERS: Final = (
    "DisableNetworking",
    "DnsSearchDomains",
    "DnsServers",
    "DockerSecurityOptions",
    "ExtraHosts",
    "Links",
    "Privileged",
)
_REFUSED_OF_LINUX: Final = ("Devices", "MaxSwap", "SharedMemorySize", "Swappiness", "Tmpfs")


def _parameters(task: Properties) -> Iterator[str]:
    yield from (name for name in _REFUSED_OF_TASKS if task.get(name))
    if task.get("PidMode") not in (None, "task"):
        yield f"PidMode {task['PidMode']!r}"
    for container in _containers(task):
        yield from (name for name in _REFUSED_OF_CONTAINERS if container.get(name))
        for needed in container.get("ResourceRequirements", ()):
            yield f"ResourceRequirements {needed.get('Type')!r}"
    for linux in _linux(task):
        # A swappiness of nought is one too.
        yield from (name for name in _REFUSED_OF_LINUX if linux.get(name) is not None)


def _capabilities(task: Properties) -> Iterator[str]:
    for linux in _linux(task):
        for name in linux.get("Capabilities", {}).get("Add", ()):
            if name != "SYS_PTRACE":
                yield f"Add {name}"


def _stop_timeout(task: Properties) -> Iterator[str]:
    for container in _containers(task):
        given = container.get("StopTimeout", 30)
        if not 2 <= int(given) <= 120:
            yield f"StopTimeout {given}"


def _limits(task: Properties) -> Iterator[str]:
    for container in _containers(task):
        yield from (f"Ulimits {one['Name']}" for one in container.get("Ulimits", ()) if one["Name"] != "nofile")


def _volumes(task: Properties) -> Iterator[str]:
    named = set()
    for volume in task.get("Volumes", ()):
        named.add(volume["Name"])
        if volume.get("Host", {}).get("SourcePath") or volume.get("DockerVolumeConfiguration"):
            yield volume["Name"]
    for container in _containers(task):
        for mount in container.get("MountPoints", ()):
            if mount["SourceVolume"] not in named:
                yield f"{mount['SourceVolume']} is mounted, and is no volume of the task"


def _disk(task: Properties) -> Iterator[str]:
    given = task.get("EphemeralStorage", {}).get("SizeInGiB", 21)
    if not 21 <= int(given) <= 200:
        yield f"SizeInGiB {given}"


def _ports(task: Properties) -> Iterator[str]:
    for container in _containers(task):
        for port in container.get("PortMappings", ()):
            if port.get("HostPort", port["ContainerPort"]) != port["ContainerPort"]:
                yield f"HostPort {port['HostPort']}"


_HEALTH: Final = {"Interval": (5, 300), "Timeout": (2, 60), "Retries": (1, 10), "StartPeriod": (0, 300)}


def _health(task: Properties) -> Iterator[str]:
    for container in _containers(task):
        check = container.get("HealthCheck")
        if check is None:
            continue
        if not check.get("Command") or check["Command"][0] not in ("CMD", "CMD-SHELL"):
            yield "HealthCheck.Command"
        for name, (least, most) in _HEALTH.items():
            if name in check and not least <= int(check[name]) <= most:
                yield f"HealthCheck.{name} {check[name]}"


def _logs(task: Properties) -> Iterator[str]:
    for container in _containers(task):
        driver = container.get("LogConfiguration", {}).get("LogDriver")
        if driver not in ("awslogs", "awsfirelens", "splunk"):
            yield f"LogDriver {driver!r}"


def _router(task: Properties) -> Iterator[str]:
    routers = [one["FirelensConfiguration"] for one in _containers(task) if one.get("FirelensConfiguration")]
    drivers = {one.get("LogConfiguration", {}).get("LogDriver") for one in _containers(task)}
    if "awsfirelens" in drivers and len(routers) != 1:
        yield f"{len(routers)} containers with a FirelensConfiguration"
    for router in routers:
        if router.get("Options", {}).get("config-file-type", "file") != "file":
            yield f"config-file-type {router['Options']['config-file-type']!r}"


def _essential(task: Properties) -> Iterator[str]:
    if not any(container.get("Essential", True) is True for container in _containers(task)):
        yield "Essential"


def _roles(task: Properties) -> Iterator[str]:
    if not task.get("ExecutionRoleArn"):
        yield "ExecutionRoleArn"


def _variables(task: Properties) -> Iterator[str]:
    for container in _containers(task):
        names = [one["Name"] for part in ("Environment", "Secrets") for one in container.get(part, ())]
        yield from sorted({name for name in names if names.count(name) > 1})


def _read_only(task: Properties) -> Iterator[str]:
    for container in _containers(task):
        if container.get("ReadonlyRootFilesystem") is not True:
            yield f"container {container.get('Name')!r}"


def _init(task: Properties) -> Iterator[str]:
    for linux in _linux(task):
        if linux.get("InitProcessEnabled") is not True:
            yield "InitProcessEnabled"


def _network(service: Properties) -> Iterator[str]:
    given = service.get("NetworkConfiguration", {}).get("AwsvpcConfiguration", {})
    yield from (name for name in ("Subnets", "SecurityGroups") if not given.get(name))


def _placement(service: Properties) -> Iterator[str]:
    yield from (name for name in ("PlacementConstraints", "PlacementStrategies") if service.get(name))
    if service.get("SchedulingStrategy", "REPLICA") != "REPLICA":
        yield f"SchedulingStrategy {service['SchedulingStrategy']!r}"
    if service.get("LaunchType") != "FARGATE" and not service.get("CapacityProviderStrategy"):
        yield f"LaunchType {service.get('LaunchType')!r}"


def _rollback(service: Properties) -> Iterator[str]:
    breaker = service.get("DeploymentConfiguration", {}).get("DeploymentCircuitBreaker", {})
    if not (breaker.get("Enable") is True and breaker.get("Rollback") is True):
        yield "DeploymentCircuitBreaker"


RULES: Final = (
    Rule(name="launch", type=TASK, says="a task is for FARGATE, in a network of mode awsvpc", broken=_launch),
    Rule(name="size", type=TASK, says="Fargate has certain sizes alone", broken=_size),
    Rule(name="parameters", type=TASK, says="Fargate does not take it", broken=_parameters),
    Rule(name="capabilities", type=TASK, says="Fargate adds SYS_PTRACE and nothing else", broken=_capabilities),
    Rule(name="stop-timeout", type=TASK, says="Fargate waits 2 to 120 seconds", broken=_stop_timeout),
    Rule(name="ulimits", type=TASK, says="Fargate changes nofile alone", broken=_limits),
    Rule(
        name="volumes", type=TASK, says="a task has no directory of the host and no volume of Docker's", broken=_volumes
    ),
    Rule(name="disk", type=TASK, says="a disk that is asked for has 21 to 200 GB", broken=_disk),
    Rule(name="ports", type=TASK, says="a port is the same inside and outside", broken=_ports),
    Rule(name="health", type=TASK, says="ECS bounds a check and its times", broken=_health),
    Rule(name="logs", type=TASK, says="Fargate has awslogs, awsfirelens and splunk", broken=_logs),
    Rule(name="router", type=TASK, says="FireLens has one router, with a file of its own image", broken=_router),
    Rule(name="essential", type=TASK, says="a task ends with one of its containers", broken=_essential),
    Rule(
        name="execution-role",
        type=TASK,
        says="without it neither logs nor secrets nor the image are had",
        broken=_roles,
    ),
    Rule(name="variables", type=TASK, says="a variable has one value", broken=_variables),
    Rule(name="read-only-root", type=TASK, says="what runs in an image does not change it", broken=_read_only),
    Rule(name="init", type=TASK, says="what is orphaned must be collected", broken=_init),
    Rule(name="network", type=SERVICE, says="a task on Fargate has subnets and security groups", broken=_network),
    Rule(name="placement", type=SERVICE, says="Fargate places replicas by itself", broken=_placement),
    Rule(name="rollback", type=SERVICE, says="what does not come up goes back to what did", broken=_rollback),
)
