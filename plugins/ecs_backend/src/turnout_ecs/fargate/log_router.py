"""Where what tasks print goes: to CloudWatch, or through a router beside the container, FireLens, to Datadog.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/using_firelens.html,
https://docs.datadoghq.com/integrations/aws-fargate/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from turnout.interfaces.deployment import Deployment

from turnout_ecs.fargate.options import Datadog, EcsOptions

if TYPE_CHECKING:
    from turnout_ecs.fargate.tasks import Task

__all__ = ["KEY_PARAMETER", "log_configuration", "routers"]

KEY_PARAMETER: Final = "DatadogApiKeySecret"
_ROUTER: Final = "log-router"
_BUFFER_BYTES: Final = 4 * 1024**2
"""Kept of a container while its router is away; what is more is lost, and the container goes on."""


def log_configuration(deployment: Deployment, task: Task, options: EcsOptions) -> Mapping[str, Any]:
    """Of the task's own container."""
    if options.datadog is None:
        return _cloudwatch(task, "turnout")
    tags = [f"project:{deployment.project}"]
    tags += [f"env:{deployment.environment}"] if deployment.environment else []
    return {
        "LogDriver": "awsfirelens",
        "Options": {
            "Name": "datadog",
            "Host": f"http-intake.logs.{options.datadog.site}",
            "TLS": "on",
            "compress": "gzip",
            "provider": "ecs",
            "dd_source": "turnout",
            "dd_service": task.name,
            "dd_tags": ",".join(tags),
            "log-driver-buffer-limit": str(_BUFFER_BYTES),
        },
        "SecretOptions": [{"Name": "apikey", "ValueFrom": {"Ref": KEY_PARAMETER}}],
    }


def routers(task: Task, options: EcsOptions) -> Iterator[Mapping[str, Any]]:
    """The router, if there is one. It is not essential: what a worker runs is worth more than what it prints. ECS starts it
    again where it ends, before the container that it serves, and stops it after."""
    if options.datadog is not None:
        yield _router(task, options.datadog)


def _router(task: Task, datadog: Datadog) -> Mapping[str, Any]:
    return {
        "Name": _ROUTER,
        "Image": datadog.router,
        "Essential": False,
        "RestartPolicy": {"Enabled": True, "RestartAttemptPeriod": 60},
        # Its configuration and its socket are root's.
        "User": "0",
        "MemoryReservation": 64,
        "ReadonlyRootFilesystem": True,
        "LinuxParameters": {"InitProcessEnabled": True, "Capabilities": {"Drop": ["ALL"]}},
        "FirelensConfiguration": {"Type": "fluentbit", "Options": {"enable-ecs-log-metadata": "true"}},
        # What it has to say of itself cannot go through it.
        "LogConfiguration": _cloudwatch(task, _ROUTER),
    }


def _cloudwatch(task: Task, prefix: str) -> Mapping[str, Any]:
    return {
        "LogDriver": "awslogs",
        "Options": {
            "awslogs-group": {"Ref": f"{task.id}Logs"},
            "awslogs-region": {"Ref": "AWS::Region"},
            "awslogs-stream-prefix": prefix,
        },
    }
