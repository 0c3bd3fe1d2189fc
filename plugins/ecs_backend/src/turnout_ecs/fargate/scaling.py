"""How many tasks there are: by what waits and runs, and by processors.

Application Auto Scaling looks at a metric of one's own by the minute, adds after three of them and takes away after fifteen
(https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-target-tracking.html). So the target is
tracked for what is slow, taking away above all, and an alarm that looks every ten seconds adds at once what is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from turnout.deploy.advice.scaling import DEFAULT_POLICY
from turnout.interfaces.deployment import Deployment, Resource
from turnout.interfaces.metric_sink import DIMENSION, EVERY_S, NAMESPACE

from turnout_ecs.fargate.options import Scaling
from turnout_ecs.fargate.tasks import RUNNER, Task

__all__ = ["by_backlog", "metric", "scaled"]

_PER_TASK: Final = "BacklogPerWorker"
_STEPS: Final = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0, 20.0)
"""Multiples of the target; between two of them as many tasks are added as the upper one asks for."""
_HIGHEST: Final = 50.0


def by_backlog(deployment: Deployment, task: Task) -> bool:
    """Whether what waits is published, and is this service's: the runner's."""
    return task.service == RUNNER and deployment.metrics == "cloudwatch"


def metric(deployment: Deployment, name: str, statistic: str = "Average") -> dict[str, Any]:
    """One of what the platform publishes. Several processes may publish at once, so none is ever summed up."""
    return {
        "Namespace": NAMESPACE,
        "MetricName": name,
        "Dimensions": [{"Name": DIMENSION, "Value": deployment.name}],
        "Statistic": statistic,
    }


def scaled(deployment: Deployment, task: Task, scaling: Scaling, cluster: Any) -> Iterator[Resource]:
    """Policies add as the one asks that asks for most, and take away when all would."""
    service = {"Fn::Join": ["/", ["service", cluster, {"Fn::GetAtt": [f"{task.id}Service", "Name"]}]]}
    yield Resource(
        id=f"{task.id}Scaling",
        type="AWS::ApplicationAutoScaling::ScalableTarget",
        properties={
            "ServiceNamespace": "ecs",
            "ScalableDimension": "ecs:service:DesiredCount",
            "ResourceId": service,
            "MinCapacity": task.processes,
            "MaxCapacity": scaling.most,
        },
    )
    by_processors = {"PredefinedMetricSpecification": {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"}}
    yield _tracked(task, f"{task.id}ScalingPolicy", "cpu", {**by_processors, "TargetValue": scaling.cpu})
    if by_backlog(deployment, task):
        target = DEFAULT_POLICY.target if scaling.backlog is None else scaling.backlog
        followed = {"CustomizedMetricSpecification": metric(deployment, _PER_TASK), "TargetValue": target}
        yield _tracked(task, f"{task.id}BacklogPolicy", "backlog", followed)
        yield from _surging(deployment, task, target)


def _tracked(task: Task, id: str, name: str, what: Mapping[str, Any]) -> Resource:
    return Resource(
        id=id,
        type="AWS::ApplicationAutoScaling::ScalingPolicy",
        properties={
            "PolicyName": f"{task.name}-{name}",
            "PolicyType": "TargetTrackingScaling",
            "ScalingTargetId": {"Ref": f"{task.id}Scaling"},
            "TargetTrackingScalingPolicyConfiguration": {
                **what,
                "ScaleOutCooldown": round(DEFAULT_POLICY.out_s),
                "ScaleInCooldown": round(DEFAULT_POLICY.in_s),
            },
        },
    )


def _surging(deployment: Deployment, task: Task, target: float) -> Iterator[Resource]:
    """As many as the target asks for, to within the one that AWS rounds away, and one where there is none."""
    yield Resource(
        id=f"{task.id}SurgePolicy",
        type="AWS::ApplicationAutoScaling::ScalingPolicy",
        properties={
            "PolicyName": f"{task.name}-surge",
            "PolicyType": "StepScaling",
            "ScalingTargetId": {"Ref": f"{task.id}Scaling"},
            "StepScalingPolicyConfiguration": {
                "AdjustmentType": "PercentChangeInCapacity",
                "MetricAggregationType": "Average",
                "MinAdjustmentMagnitude": 1,
                "Cooldown": round(DEFAULT_POLICY.out_s),
                "StepAdjustments": list(_steps(target)),
            },
        },
    )
    yield Resource(
        id=f"{task.id}SurgeAlarm",
        type="AWS::CloudWatch::Alarm",
        properties={
            "AlarmName": f"{task.name}-surge",
            "AlarmDescription": f"{task.name}: more executions a task, due and running, than it is to have.",
            **metric(deployment, _PER_TASK),
            "Period": round(EVERY_S),
            "EvaluationPeriods": 1,
            "Threshold": target,
            "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "notBreaching",
            "AlarmActions": [{"Ref": f"{task.id}SurgePolicy"}],
        },
    )


def _steps(target: float) -> Iterator[dict[str, Any]]:
    """Bounds are said from the alarm's threshold on, which is the target."""
    for lower, upper in zip(_STEPS, (*_STEPS[1:], _HIGHEST), strict=True):
        bounds = {"MetricIntervalLowerBound": (lower - 1) * target}
        if upper != _HIGHEST:
            bounds["MetricIntervalUpperBound"] = (upper - 1) * target
        yield {**bounds, "ScalingAdjustment": round((upper - 1) * 100)}
