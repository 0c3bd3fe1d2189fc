"""A deployment on ECS: a cluster, and for each service its tasks, roles, logs, and how many tasks there are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from turnout.errors import BackendError, SettingsError
from turnout.interfaces.deployment import Deployment, Description, ImageContext, Parameter, Resource

from turnout_ecs.fargate.alarms import alarms
from turnout_ecs.fargate.log_router import KEY_PARAMETER
from turnout_ecs.fargate.options import EcsOptions
from turnout_ecs.fargate.rules import faults_of
from turnout_ecs.fargate.scaling import by_backlog, scaled
from turnout_ecs.fargate.tasks import RUNNER, Task, secret_parameter, task_definition, tasks_of

__all__ = ["CONTEXT", "describe"]

CONTEXT: Final = Path("image")
"""Of the project's image, in the package."""

_VERSION: Final = "2012-10-17"
_CLUSTER: Final = "Cluster"
_IN_ECR: Final = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com/([a-z0-9._/-]+)(?:[:@].+)?")
Tags = Sequence[Mapping[str, str]]


def describe(deployment: Deployment) -> Description:
    """As `Target.describe`, without making what it names: the build context of the project's image, if one is to be built."""
    options = deployment.read(EcsOptions)
    tasks = tasks_of(deployment, options)
    _check_options(tasks, options)
    resources = tuple(_resources(deployment, tasks, options))
    if faults := faults_of(resources):
        raise BackendError("Fargate would not take this: " + "; ".join(str(fault) for fault in faults))
    return Description(
        resources=resources,
        parameters=tuple(_parameters(deployment, options)),
        outputs={
            "Cluster": {"Ref": _CLUSTER},
            **{f"{task.id}Service": {"Fn::GetAtt": [f"{task.id}Service", "Name"]} for task in tasks},
        },
        images={} if options.image else {"Image": _image(options)},
        notes=tuple(_notes(deployment, tasks, options)),
    )


def _image(options: EcsOptions) -> ImageContext:
    machine = "arm64" if options.architecture == "arm64" else "amd64"
    return ImageContext(path=CONTEXT, platform=f"linux/{machine}")


def _check_options(tasks: Sequence[Task], options: EcsOptions) -> None:
    for task in tasks:
        scaling = options.scaling.get(task.service)
        if scaling is not None and scaling.most < task.processes:
            setting = f"targets.ecs.scaling.{task.service}.most"
            raise SettingsError(
                f"{setting}: {scaling.most} is less than `services.{task.service}.processes`, {task.processes}",
                setting=setting,
            )
        if task.service in options.target_groups and task.port is None:
            setting = f"targets.ecs.target_groups.{task.service}"
            raise SettingsError(f"{setting}: {task.service!r} has no routes: remove it", setting=setting)


def _parameters(deployment: Deployment, options: EcsOptions) -> Iterator[Parameter]:
    yield Parameter(
        name="Image",
        description="The project's image, best by its digest (name@sha256:...).",
        default=options.image or None,
    )
    if options.registry == "ecr":
        found = _IN_ECR.fullmatch(options.image)
        yield Parameter(
            name="RepositoryArn",
            description="The ARN of the image's repository in ECR.",
            default=f"arn:aws:ecr:{found[2]}:{found[1]}:repository/{found[3]}" if found else None,
        )
    yield Parameter(
        name="SubnetIds",
        type="List<AWS::EC2::Subnet::Id>",
        description="Subnets from which the stores, the image's registry and the internet are reached.",
    )
    yield Parameter(
        name="SecurityGroupIds",
        type="List<AWS::EC2::SecurityGroup::Id>",
        description="Security groups that the stores let in.",
    )
    for name, meaning in _secrets(deployment, options).items():
        yield Parameter(name=name, description=f"The ARN of the secret in Secrets Manager whose text is {meaning}.")


def _secrets(deployment: Deployment, options: EcsOptions) -> Mapping[str, str]:
    """What each parameter is the secret's address of."""
    router = {} if options.datadog is None else {KEY_PARAMETER: "Datadog's API key"}
    return {**router, **{secret_parameter(variable): variable for variable in deployment.variables}}


def _resources(deployment: Deployment, tasks: Sequence[Task], options: EcsOptions) -> Iterator[Resource]:
    named = {"turnout:project": deployment.project, "turnout:environment": deployment.environment, **options.tags}
    tags = [{"Key": name, "Value": value} for name, value in sorted(named.items()) if value]
    yield Resource(id=_CLUSTER, type="AWS::ECS::Cluster", properties={"Tags": tags})
    for task in tasks:
        yield Resource(
            id=f"{task.id}Logs",
            type="AWS::Logs::LogGroup",
            properties={"LogGroupName": f"/ecs/{task.name}", "RetentionInDays": options.log_days, "Tags": tags},
        )
        yield _execution_role(deployment, task, options, tags)
        yield _task_role(deployment, task, tags)
        yield task_definition(deployment, task, options, tags)
        yield _service(task, options, tags)
        if task.service in options.scaling:
            yield from scaled(deployment, task, options.scaling[task.service], {"Ref": _CLUSTER})
        if options.alarm_topic:
            yield from alarms(deployment, task, options, {"Ref": _CLUSTER})


def _execution_role(deployment: Deployment, task: Task, options: EcsOptions, tags: Tags) -> Resource:
    """What ECS does before the container runs: its image, its secrets, its log."""
    statements = [
        _allow(("logs:CreateLogStream", "logs:PutLogEvents"), [{"Fn::GetAtt": [f"{task.id}Logs", "Arn"]}]),
        _allow(("secretsmanager:GetSecretValue",), [{"Ref": name} for name in _secrets(deployment, options)]),
    ]
    if options.registry == "ecr":
        pull = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
        # It cannot be narrowed: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerregistry.html
        statements += [_allow(("ecr:GetAuthorizationToken",), ["*"]), _allow(pull, [{"Ref": "RepositoryArn"}])]
    return _role(f"{task.id}ExecutionRole", statements, tags)


def _task_role(deployment: Deployment, task: Task, tags: Tags) -> Resource:
    """What the platform's own backends do."""
    statements = [
        _allow(one.actions, [_sub(resource) for resource in one.resources], one.condition)
        for one in deployment.permissions
    ]
    return _role(f"{task.id}TaskRole", statements, tags)


def _role(name: str, statements: Sequence[Mapping[str, Any]], tags: Tags) -> Resource:
    given = [one for one in statements if one["Resource"]]
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": "ecs-tasks.amazonaws.com"},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}},
    }
    policy = {"PolicyName": "task", "PolicyDocument": {"Version": _VERSION, "Statement": given}}
    return Resource(
        id=name,
        type="AWS::IAM::Role",
        properties={
            "AssumeRolePolicyDocument": {"Version": _VERSION, "Statement": [trust]},
            **({"Policies": [policy]} if given else {}),
            "Tags": list(tags),
        },
    )


def _allow(
    actions: Sequence[str], resources: Sequence[Any], condition: Mapping[str, Any] = MappingProxyType({})
) -> Mapping[str, Any]:
    narrowed = {"Condition": dict(condition)} if condition else {}
    return {"Effect": "Allow", "Action": list(actions), "Resource": list(resources), **narrowed}


def _sub(resource: Any) -> Any:
    return {"Fn::Sub": resource} if isinstance(resource, str) and "${" in resource else resource


def _service(task: Task, options: EcsOptions, tags: Tags) -> Resource:
    # Where tasks are scaled, their number is not the template's: an update would undo it.
    count = {} if task.service in options.scaling else {"DesiredCount": task.processes}
    group = options.target_groups.get(task.service)
    balanced: dict[str, Any] = {}
    if group is not None:
        balanced = {
            "HealthCheckGracePeriodSeconds": 60,
            "LoadBalancers": [{"ContainerName": task.name, "ContainerPort": task.port, "TargetGroupArn": group}],
        }
    return Resource(
        id=f"{task.id}Service",
        type="AWS::ECS::Service",
        properties={
            "Cluster": {"Ref": _CLUSTER},
            "TaskDefinition": {"Ref": f"{task.id}Task"},
            "LaunchType": "FARGATE",
            "PlatformVersion": "LATEST",
            **count,
            **balanced,
            "DeploymentConfiguration": {
                "MinimumHealthyPercent": 100,
                "MaximumPercent": 200,
                "DeploymentCircuitBreaker": {"Enable": True, "Rollback": True},
            },
            "NetworkConfiguration": {
                "AwsvpcConfiguration": {
                    "Subnets": {"Ref": "SubnetIds"},
                    "SecurityGroups": {"Ref": "SecurityGroupIds"},
                    "AssignPublicIp": "ENABLED" if options.public_ip else "DISABLED",
                }
            },
            "EnableECSManagedTags": True,
            "PropagateTags": "SERVICE",
            "Tags": list(tags),
        },
    )


def _notes(deployment: Deployment, tasks: Sequence[Task], options: EcsOptions) -> Iterator[str]:
    if not options.image:
        yield f"the project's image is built from {CONTEXT}/: `turnout deploy` does, and pushes it to `RepositoryArn`"
    names = {task.service for task in tasks}
    for table in ("cpu", "scaling", "target_groups"):
        if unknown := sorted(getattr(options, table).keys() - names):
            yield f"targets.ecs.{table}: {', '.join(unknown)}: not among the services that are packaged here"
    if closed := [task.service for task in tasks if task.port and task.service not in options.target_groups]:
        yield f"{', '.join(closed)}: reached within the network alone, as no load balancer's target group is given (`targets.ecs.target_groups`)"
    if any(placed.shape.name == RUNNER and placed.memory_bytes is None for placed in deployment.services):
        yield f"runner: {options.memory} MB, as nothing else is asked for: `services.runner.memory` says what its sandboxes need"
    for task in tasks:
        if task.service == RUNNER and task.service in options.scaling and not by_backlog(deployment, task):
            yield f'{task.service}: scaled by processor use alone: `kind = "cloudwatch"` under `[metrics]` has it scaled by what waits, too'
        if task.service not in options.scaling or options.scaling[task.service].backlog is None:
            continue
        if not by_backlog(deployment, task):
            yield f"targets.ecs.scaling.{task.service}.backlog: nothing goes by it: it is for the runner, with `[metrics]`"
