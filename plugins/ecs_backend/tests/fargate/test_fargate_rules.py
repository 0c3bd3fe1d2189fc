"""Each rule catches what it is there for: a template that is as it should be, spoiled in one place."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from turnout.interfaces.deployment import Resource
from turnout_ecs.fargate.rules import RULES, faults_of

TASK: dict[str, Any] = {
    "Family": "shop-runner",
    "RequiresCompatibilities": ["FARGATE"],
    "NetworkMode": "awsvpc",
    "Cpu": "512",
    "Memory": "1024",
    "EphemeralStorage": {"SizeInGiB": 30},
    "ExecutionRoleArn": "arn:aws:iam::123456789012:role/execution",
    "Volumes": [{"Name": "storage"}],
    "ContainerDefinitions": [
        {
            "Name": "runner",
            "Image": "shop",
            "Environment": [{"Name": "TURNOUT_ENV", "Value": "production"}],
            "Secrets": [{"Name": "REDIS_URL", "ValueFrom": "arn"}],
            "PortMappings": [{"ContainerPort": 8400}],
            "MountPoints": [{"SourceVolume": "storage", "ContainerPath": "/project/.turnout"}],
            "ReadonlyRootFilesystem": True,
            "LinuxParameters": {"InitProcessEnabled": True, "Capabilities": {"Drop": ["ALL"]}},
            "StopTimeout": 120,
            "HealthCheck": {"Command": ["CMD", "true"], "Interval": 15, "Timeout": 10},
            "LogConfiguration": {"LogDriver": "awslogs"},
        }
    ],
}
SERVICE: dict[str, Any] = {
    "LaunchType": "FARGATE",
    "NetworkConfiguration": {"AwsvpcConfiguration": {"Subnets": ["subnet-1"], "SecurityGroups": ["sg-1"]}},
    "DeploymentConfiguration": {"DeploymentCircuitBreaker": {"Enable": True, "Rollback": True}},
}


def resources(task: dict[str, Any] = TASK, service: dict[str, Any] = SERVICE) -> tuple[Resource, ...]:
    return (
        Resource(id="RunnerTask", type="AWS::ECS::TaskDefinition", properties=task),
        Resource(id="RunnerService", type="AWS::ECS::Service", properties=service),
    )


def container(**given: Any) -> Callable[[dict[str, Any]], None]:
    return lambda task: task["ContainerDefinitions"][0].update(given)


def linux(**given: Any) -> Callable[[dict[str, Any]], None]:
    return lambda task: task["ContainerDefinitions"][0]["LinuxParameters"].update(given)


def task(**given: Any) -> Callable[[dict[str, Any]], None]:
    return lambda task: task.update(given)


SPOILED: list[tuple[str, Callable[[dict[str, Any]], None], str]] = [
    ("router", container(LogConfiguration={"LogDriver": "awsfirelens"}), "0 containers with a FirelensConfiguration"),
    (
        "router",
        container(FirelensConfiguration={"Type": "fluentbit", "Options": {"config-file-type": "s3"}}),
        "config-file-type 's3'",
    ),
    ("essential", container(Essential=False), "Essential"),
    ("launch", task(RequiresCompatibilities=["EC2"]), "RequiresCompatibilities"),
    ("launch", task(NetworkMode="bridge"), "NetworkMode 'bridge'"),
    ("size", task(Memory="512"), "Cpu '512' with Memory '512'"),
    ("size", task(Cpu="300"), "Cpu '300'"),
    ("size", task(Memory="1 GB"), "Memory '1 GB'"),
    ("parameters", task(IpcMode="host"), "IpcMode"),
    ("parameters", task(PidMode="host"), "PidMode 'host'"),
    ("parameters", container(Privileged=True), "Privileged"),
    ("parameters", container(ExtraHosts=[{"Hostname": "a", "IpAddress": "10.0.0.1"}]), "ExtraHosts"),
    ("parameters", container(ResourceRequirements=[{"Type": "GPU", "Value": "1"}]), "ResourceRequirements 'GPU'"),
    ("parameters", linux(Tmpfs=[{"ContainerPath": "/tmp", "Size": 64}]), "Tmpfs"),
    ("parameters", linux(Swappiness=0), "Swappiness"),
    ("capabilities", linux(Capabilities={"Add": ["SYS_ADMIN"]}), "Add SYS_ADMIN"),
    ("stop-timeout", container(StopTimeout=600), "StopTimeout 600"),
    ("stop-timeout", container(StopTimeout=1), "StopTimeout 1"),
    ("ulimits", container(Ulimits=[{"Name": "nproc", "SoftLimit": 1, "HardLimit": 1}]), "Ulimits nproc"),
    ("volumes", task(Volumes=[{"Name": "storage", "Host": {"SourcePath": "/var"}}]), "storage"),
    ("volumes", task(Volumes=[]), "storage is mounted, and is no volume of the task"),
    ("disk", task(EphemeralStorage={"SizeInGiB": 20}), "SizeInGiB 20"),
    ("ports", container(PortMappings=[{"ContainerPort": 8400, "HostPort": 80}]), "HostPort 80"),
    ("health", container(HealthCheck={"Command": ["true"]}), "HealthCheck.Command"),
    ("health", container(HealthCheck={"Command": ["CMD", "true"], "Interval": 4}), "HealthCheck.Interval 4"),
    ("logs", container(LogConfiguration={"LogDriver": "json-file"}), "LogDriver 'json-file'"),
    ("execution-role", task(ExecutionRoleArn=""), "ExecutionRoleArn"),
    ("variables", container(Environment=[{"Name": "REDIS_URL", "Value": "x"}]), "REDIS_URL"),
    ("read-only-root", container(ReadonlyRootFilesystem=False), "container 'runner'"),
    ("init", linux(InitProcessEnabled=False), "InitProcessEnabled"),
    ("network", task(NetworkConfiguration={}), "Subnets"),
    ("placement", task(SchedulingStrategy="DAEMON"), "SchedulingStrategy 'DAEMON'"),
    ("placement", task(LaunchType="EC2"), "LaunchType 'EC2'"),
    ("rollback", task(DeploymentConfiguration={"DeploymentCircuitBreaker": {"Enable": True}}), "DeploymentCircuit"),
]


def test_what_is_as_it_should_be_has_no_fault() -> None:
    assert faults_of(resources()) == ()


@pytest.mark.parametrize(("name", "spoil", "what"), SPOILED, ids=[f"{one[0]}: {one[2]}" for one in SPOILED])
def test_a_spoiled_template_is_caught_by_the_rule_and_by_no_other(
    name: str, spoil: Callable[[dict[str, Any]], None], what: str
) -> None:
    [rule] = [rule for rule in RULES if rule.name == name]
    spoiled_task, spoiled_service = copy.deepcopy(TASK), copy.deepcopy(SERVICE)
    spoil(spoiled_task if rule.type == "AWS::ECS::TaskDefinition" else spoiled_service)

    found = faults_of(resources(spoiled_task, spoiled_service))

    assert {fault.rule for fault in found} == {rule}
    assert what in str(found[0])
    assert found[0].resource in ("RunnerTask", "RunnerService")
    assert rule.says in str(found[0])


def test_every_rule_has_a_template_that_it_catches() -> None:
    assert {rule.name for rule in RULES} == {name for name, _, _ in SPOILED}
