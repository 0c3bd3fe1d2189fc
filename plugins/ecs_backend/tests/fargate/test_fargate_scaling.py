"""How many tasks a template asks for: by processors, and by what waits, as the policy that was chosen says."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import botocore.session  # type: ignore[import-untyped]
import pytest
from botocore.validate import ParamValidator  # type: ignore[import-untyped]
from cfnlint.api import ManualArgs, lint  # type: ignore[import-untyped]
from turnout.deploy.advice.scaling import DEFAULT_POLICY
from turnout.deploy.cloudformation import cloudformation
from turnout.interfaces.deployment import Deployment, Description, Placed, ServiceShape
from turnout.interfaces.metric_sink import GAUGES
from turnout_ecs.fargate.description import describe

RUNNER = Placed(shape=ServiceShape(name="runner"), memory_bytes=2 * 10**9, processes=2)
SCALED = {"image": "registry.example/shop:1", "scaling": {"runner": {"most": 40}, "logs": {"most": 3}}}


def described(metrics: str = "cloudwatch", **options: Any) -> tuple[Deployment, Description]:
    made = Deployment(
        project="shop",
        environment="production",
        root=Path("/x"),
        target="ecs",
        services=(RUNNER, Placed(shape=ServiceShape(name="logs"))),
        options={**SCALED, **options},
        metrics=metrics,
    )
    return made, describe(made)


def resources(**given: Any) -> Any:
    return cloudformation(*described(**given))["Resources"]


def test_the_runner_is_held_at_the_executions_a_task_of_the_policy_that_was_chosen() -> None:
    policy = resources()["RunnerBacklogPolicy"]["Properties"]["TargetTrackingScalingPolicyConfiguration"]

    assert policy == {
        "CustomizedMetricSpecification": {
            "Namespace": "Turnout",
            "MetricName": "BacklogPerWorker",
            "Dimensions": [{"Name": "Deployment", "Value": "shop-production"}],
            "Statistic": "Average",
        },
        "TargetValue": DEFAULT_POLICY.target,
        "ScaleOutCooldown": DEFAULT_POLICY.out_s,
        "ScaleInCooldown": DEFAULT_POLICY.in_s,
    }
    assert policy["CustomizedMetricSpecification"]["MetricName"] in GAUGES


def test_processors_count_beside_it_and_alone_for_what_takes_nothing_from_the_queue() -> None:
    made = resources()

    assert {name for name in made if name.startswith("Logs") and made[name]["Type"].endswith("ScalingPolicy")} == {
        "LogsScalingPolicy"
    }
    assert "RunnerScalingPolicy" in made


def test_without_metrics_there_is_no_policy_that_would_never_act() -> None:
    made, description = described(metrics="")

    found = cloudformation(made, description)["Resources"]
    assert [name for name in found if "Backlog" in name or "Surge" in name] == []
    assert any(note.startswith("runner: scaled by processor use alone") for note in description.notes)
    assert not any("scaled by processor use alone" in note for note in described()[1].notes)


def test_a_target_that_nothing_goes_by_is_told() -> None:
    _, description = described(scaling={"logs": {"most": 3, "backlog": 4}})

    assert any(note.startswith("targets.ecs.scaling.logs.backlog: nothing goes by it") for note in description.notes)


def added(made: Any, tasks: int, load: float) -> int:
    """As Application Auto Scaling says: https://docs.aws.amazon.com/autoscaling/application/userguide/step-scaling-policy-overview.html."""
    alarm = made["RunnerSurgeAlarm"]["Properties"]
    step = made["RunnerSurgePolicy"]["Properties"]["StepScalingPolicyConfiguration"]
    over = load / max(1, tasks) - alarm["Threshold"]
    if over <= 0:
        return 0
    [fit] = [
        one["ScalingAdjustment"]
        for one in step["StepAdjustments"]
        if one["MetricIntervalLowerBound"] <= over < one.get("MetricIntervalUpperBound", math.inf)
    ]
    least: int = step["MinAdjustmentMagnitude"]
    return max(least, math.floor(tasks * int(fit) / 100))


@pytest.mark.parametrize("target", [None, 3.5])
def test_a_surge_is_given_what_the_policy_asks_for_and_not_much_more(target: float | None) -> None:
    given = {"most": 4000} if target is None else {"most": 4000, "backlog": target}
    made = resources(scaling={"runner": given})
    held = target or DEFAULT_POLICY.target

    for tasks in (1, 2, 4, 10, 100):
        for tenths in range(1, 10 * 50):
            load = tasks * held * tenths / 10
            asked = math.ceil(load / held)
            has = tasks + added(made, tasks, load)
            if tenths <= 9:
                assert has == tasks
            if tenths >= 11:
                assert has >= asked - 1
            if 11 <= tenths <= 99:
                assert has <= math.ceil(asked * 5 / 3)


def test_a_surge_is_looked_for_every_ten_seconds_and_starts_the_first_task() -> None:
    made = resources()

    alarm = made["RunnerSurgeAlarm"]["Properties"]
    assert (alarm["Period"], alarm["EvaluationPeriods"], alarm["TreatMissingData"]) == (10, 1, "notBreaching")
    assert alarm["AlarmActions"] == [{"Ref": "RunnerSurgePolicy"}]
    assert added(made, 0, 3) == 1


def test_steps_are_without_gaps() -> None:
    configuration = resources()["RunnerSurgePolicy"]["Properties"]["StepScalingPolicyConfiguration"]
    steps = configuration["StepAdjustments"]

    assert [one["MetricIntervalUpperBound"] for one in steps[:-1]] == [
        one["MetricIntervalLowerBound"] for one in steps[1:]
    ]
    assert steps[0]["MetricIntervalLowerBound"] == 0
    assert "MetricIntervalUpperBound" not in steps[-1]


def test_the_api_and_cfn_lint_take_it() -> None:
    made = described()
    template = cloudformation(*made)

    found = lint(json.dumps(template), config=ManualArgs(regions=["eu-central-1"]))
    assert [str(one) for one in found if one.rule.id[0] in "EW"] == []
    session = botocore.session.get_session()
    shape = session.get_service_model("application-autoscaling").operation_model("PutScalingPolicy").input_shape
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::ApplicationAutoScaling::ScalingPolicy":
            asked = {key: value for key, value in resource["Properties"].items() if key != "ScalingTargetId"}
            asked |= {
                "ServiceNamespace": "ecs",
                "ResourceId": "service/a/b",
                "ScalableDimension": "ecs:service:DesiredCount",
            }
            assert ParamValidator().validate(asked, shape).generate_report() == "", name
