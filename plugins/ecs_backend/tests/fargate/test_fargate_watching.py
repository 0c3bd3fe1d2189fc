"""Where what tasks print goes, and what somebody hears of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from turnout.deploy.cloudformation import cloudformation
from turnout.errors import SettingsError
from turnout.interfaces.deployment import Deployment, Placed, ServiceShape
from turnout_ecs.fargate.description import describe

TOPIC = "arn:aws:sns:eu-central-1:123456789012:ops"


def template(metrics: str = "cloudwatch", variables: tuple[str, ...] = ("REDIS_URL",), **options: Any) -> Any:
    made = Deployment(
        project="shop",
        environment="production",
        root=Path("/x"),
        target="ecs",
        services=(Placed(shape=ServiceShape(name="runner")), Placed(shape=ServiceShape(name="logs"))),
        options={"image": "registry.example/shop:1", **options},
        variables=variables,
        metrics=metrics,
    )
    return cloudformation(made, describe(made))


def containers(made: Any) -> list[Any]:
    found: list[Any] = made["Resources"]["RunnerTask"]["Properties"]["ContainerDefinitions"]
    return found


def test_what_tasks_print_goes_to_cloudwatch_unless_datadog_is_chosen() -> None:
    [own] = containers(template())

    assert own["LogConfiguration"]["LogDriver"] == "awslogs"


def test_datadog_gets_it_through_a_router_and_its_key_by_reference_alone() -> None:
    made = template(datadog={"site": "datadoghq.eu"})

    own, router = containers(made)
    assert own["LogConfiguration"]["LogDriver"] == "awsfirelens"
    options = own["LogConfiguration"]["Options"]
    assert (options["Name"], options["Host"], options["TLS"]) == ("datadog", "http-intake.logs.datadoghq.eu", "on")
    assert options["dd_service"] == "shop-production-runner"
    assert options["dd_tags"] == "project:shop,env:production"
    assert own["LogConfiguration"]["SecretOptions"] == [{"Name": "apikey", "ValueFrom": {"Ref": "DatadogApiKeySecret"}}]
    assert router["FirelensConfiguration"]["Type"] == "fluentbit"
    assert "DatadogApiKeySecret" in made["Parameters"]
    read = made["Resources"]["RunnerExecutionRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"][1]
    assert read["Resource"] == [{"Ref": "DatadogApiKeySecret"}, {"Ref": "RedisUrlSecret"}]


def test_a_router_that_ends_takes_no_worker_with_it_and_comes_back() -> None:
    own, router = containers(template(datadog={}))

    assert (own["Essential"], router["Essential"]) == (True, False)
    assert router["RestartPolicy"] == {"Enabled": True, "RestartAttemptPeriod": 60}
    assert router["ReadonlyRootFilesystem"] is True
    assert router["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}
    assert router["LogConfiguration"]["LogDriver"] == "awslogs", "its own faults do not go through it"


def test_a_key_that_settings_name_too_is_asked_for_once() -> None:
    made = template(datadog={}, variables=("DATADOG_API_KEY",))

    assert [name for name in made["Parameters"] if name == "DatadogApiKeySecret"] == ["DatadogApiKeySecret"]
    read = made["Resources"]["RunnerExecutionRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"][1]
    assert read["Resource"] == [{"Ref": "DatadogApiKeySecret"}]


def test_a_site_that_there_is_not_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"targets\.ecs\.datadog\.site"):
        template(datadog={"site": "datadog.example"})


def alarms(made: Any) -> dict[str, Any]:
    return {
        name: one["Properties"] for name, one in made["Resources"].items() if one["Type"] == "AWS::CloudWatch::Alarm"
    }


def test_without_a_topic_there_are_no_alarms() -> None:
    made = template()

    assert alarms(made) == {}
    assert [name for name, one in made["Resources"].items() if one["Type"] == "AWS::Events::Rule"] == []


def test_every_service_is_watched_and_the_queue_by_the_runner_alone() -> None:
    made = template(alarm_topic=TOPIC)

    found = alarms(made)
    assert found.keys() == {
        *("RunnerNoTaskAlarm", "RunnerMemoryAlarm", "RunnerWaitingAlarm", "RunnerDeadLettersAlarm"),
        *("LogsNoTaskAlarm", "LogsMemoryAlarm"),
    }
    assert {tuple(one["AlarmActions"]) for one in found.values()} == {(TOPIC,)}
    assert {tuple(one["OKActions"]) for one in found.values()} == {(TOPIC,)}
    assert len({one["AlarmName"] for one in found.values()}) == len(found)
    assert alarms(template(alarm_topic=TOPIC, metrics="")).keys() == {
        *("RunnerNoTaskAlarm", "RunnerMemoryAlarm", "LogsNoTaskAlarm", "LogsMemoryAlarm")
    }


def test_silence_is_an_alarm_where_something_should_be_said() -> None:
    found = alarms(template(alarm_topic=TOPIC, alarm_age=60))

    assert found["RunnerNoTaskAlarm"]["TreatMissingData"] == "breaching"
    assert found["RunnerNoTaskAlarm"]["Statistic"] == "SampleCount"
    assert found["RunnerNoTaskAlarm"]["Dimensions"] == [
        {"Name": "ClusterName", "Value": {"Ref": "Cluster"}},
        {"Name": "ServiceName", "Value": {"Fn::GetAtt": ["RunnerService", "Name"]}},
    ]
    waiting = found["RunnerWaitingAlarm"]
    assert (waiting["MetricName"], waiting["Threshold"], waiting["Statistic"]) == ("OldestDueSeconds", 60, "Maximum")
    assert waiting["TreatMissingData"] == "breaching"
    assert found["RunnerMemoryAlarm"]["TreatMissingData"] == "notBreaching"
    assert found["RunnerDeadLettersAlarm"]["TreatMissingData"] == "notBreaching"


def test_a_deployment_that_goes_back_is_told() -> None:
    rule = template(alarm_topic=TOPIC)["Resources"]["RunnerRolledBack"]["Properties"]

    assert rule["EventPattern"] == {
        "source": ["aws.ecs"],
        "detail-type": ["ECS Deployment State Change"],
        "resources": [{"Ref": "RunnerService"}],
        "detail": {"eventName": ["SERVICE_DEPLOYMENT_FAILED"]},
    }
    assert rule["Targets"] == [{"Id": "topic", "Arn": TOPIC}]
