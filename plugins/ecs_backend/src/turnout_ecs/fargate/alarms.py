"""What somebody has to hear of, by an SNS topic: a service without tasks, memory that runs out, a deployment that went back, and
work that nobody takes or that was given up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from turnout.interfaces.deployment import Deployment, Resource

from turnout_ecs.fargate.options import EcsOptions
from turnout_ecs.fargate.scaling import by_backlog, metric
from turnout_ecs.fargate.tasks import Task

__all__ = ["alarms"]

_MEMORY_PERCENT: Final = 90


def alarms(deployment: Deployment, task: Task, options: EcsOptions, cluster: Any) -> Iterator[Resource]:
    """Each says when it is over, too; but for the one on deployments, which is an event."""
    topic = options.alarm_topic
    service = {"Fn::GetAtt": [f"{task.id}Service", "Name"]}
    of_service = {
        "Namespace": "AWS/ECS",
        "Dimensions": [{"Name": "ClusterName", "Value": cluster}, {"Name": "ServiceName", "Value": service}],
    }
    # Each task says once a minute how busy it is:
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/viewing_cloudwatch_metrics.html
    told = {**of_service, "MetricName": "CPUUtilization", "Statistic": "SampleCount"}
    yield _alarm(task, "NoTask", "no task runs", topic, {**told, **_below(1), "TreatMissingData": "breaching"})
    used = {**of_service, "MetricName": "MemoryUtilization", "Statistic": "Maximum"}
    yield _alarm(
        task, "Memory", f"a task uses {_MEMORY_PERCENT}% of its memory", topic, {**used, **_above(_MEMORY_PERCENT)}
    )
    yield _rolled_back(task, topic)
    if by_backlog(deployment, task):
        age = {**metric(deployment, "OldestDueSeconds", "Maximum"), **_above(options.alarm_age)}
        # Where nobody publishes, nobody knows.
        what = f"something waits longer than {options.alarm_age} s, or nobody knows"
        yield _alarm(task, "Waiting", what, topic, {**age, "TreatMissingData": "breaching"})
        dead = {**metric(deployment, "DeadLetters", "Maximum"), **_above(1), "EvaluationPeriods": 1}
        yield _alarm(task, "DeadLetters", "executions were given up", topic, dead)


def _above(threshold: float) -> dict[str, Any]:
    return {"Threshold": threshold, "ComparisonOperator": "GreaterThanOrEqualToThreshold"}


def _below(threshold: float) -> dict[str, Any]:
    return {"Threshold": threshold, "ComparisonOperator": "LessThanThreshold"}


def _alarm(task: Task, name: str, what: str, topic: str, given: Mapping[str, Any]) -> Resource:
    words = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name)
    return Resource(
        id=f"{task.id}{name}Alarm",
        type="AWS::CloudWatch::Alarm",
        properties={
            "AlarmName": f"{task.name}{words}",
            "AlarmDescription": f"{task.name}: {what}",
            "Period": 60,
            "EvaluationPeriods": 3,
            "TreatMissingData": "notBreaching",
            **given,
            "AlarmActions": [topic],
            "OKActions": [topic],
        },
    )


def _rolled_back(task: Task, topic: str) -> Resource:
    """https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_service_deployment_events.html; the topic has to let
    `events.amazonaws.com` publish."""
    return Resource(
        id=f"{task.id}RolledBack",
        type="AWS::Events::Rule",
        properties={
            "Description": f"{task.name}: a deployment failed, and goes back",
            "EventPattern": {
                "source": ["aws.ecs"],
                "detail-type": ["ECS Deployment State Change"],
                "resources": [{"Ref": f"{task.id}Service"}],
                "detail": {"eventName": ["SERVICE_DEPLOYMENT_FAILED"]},
            },
            "State": "ENABLED",
            "Targets": [{"Id": "topic", "Arn": topic}],
        },
    )
