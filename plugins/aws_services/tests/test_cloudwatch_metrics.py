"""How the queue stands, in CloudWatch: what arrives there, and what is said where it does not."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from turnout.config import MetricSettings, ProjectSettings, Settings
from turnout.errors import BackendError, SettingsError
from turnout.interfaces.metric_sink import GAUGES, QueueGauges
from turnout.interfaces.opening import Opening
from turnout.interfaces.service import Invocation
from turnout.local.measuring import presence_of
from turnout.local.platform import Platform
from turnout.local.services import services_of
from turnout.plugins import load_plugins
from turnout.services.backlog import Presences
from turnout_aws.cloudwatch_metrics import CloudWatchMetrics


def gauges(deployment: str = "shop-production") -> QueueGauges:
    return QueueGauges(deployment=deployment, at=time.time() - 5, backlog=7, workers=2, oldest_due_s=1.5, dead=3)


async def opened(**options: Any) -> CloudWatchMetrics:
    given = {"region": "eu-central-1", **options}
    return await CloudWatchMetrics.connect(Opening(directory=Path(), table="metrics", name="options", options=given))


async def test_every_gauge_arrives_under_its_deployment(server: str) -> None:
    sink = await opened(endpoint_url=server)

    await sink.publish(gauges())
    await sink.publish(gauges())
    await sink.close()

    client = boto3.client("cloudwatch", endpoint_url=server)
    dimensions = [{"Name": "Deployment", "Value": "shop-production"}]
    found = client.list_metrics(Namespace="Turnout", Dimensions=dimensions)["Metrics"]
    assert {one["MetricName"] for one in found} == GAUGES.keys()
    now = datetime.now(UTC)
    read = {
        name: client.get_metric_statistics(
            Namespace="Turnout",
            MetricName=name,
            Dimensions=dimensions,
            StartTime=now - timedelta(minutes=5),
            EndTime=now + timedelta(minutes=1),
            Period=3600,
            Statistics=["Average", "SampleCount"],
        )["Datapoints"]
        for name in GAUGES
    }
    client.close()
    assert {name: points[0]["Average"] for name, points in read.items()} == gauges().values()
    assert {points[0]["SampleCount"] for points in read.values()} == {2.0}, "two publish, and the average is the same"


async def test_it_is_kept_by_the_second(server: str) -> None:
    sink = await opened(endpoint_url=server)
    sent: list[dict[str, Any]] = []
    sink._client.meta.events.register(
        "provide-client-params.cloudwatch.PutMetricData", lambda params, **_: sent.append(params)
    )

    await sink.publish(gauges())
    await sink.close()

    assert {one["StorageResolution"] for one in sent[0]["MetricData"]} == {1}
    units = {one["MetricName"]: one["Unit"] for one in sent[0]["MetricData"]}
    assert {name for name, unit in units.items() if unit == "Seconds"} == {"OldestDueSeconds"}


async def test_what_does_not_arrive_is_told() -> None:
    sink = await opened(endpoint_url="http://127.0.0.1:9")

    with pytest.raises(BackendError, match="CloudWatch does not take how the queue stands: AWS cannot be reached"):
        await sink.publish(gauges())
    await sink.close()


async def test_an_option_that_is_wrong_is_named() -> None:
    with pytest.raises(SettingsError, match=r"metrics\.options\.region: a region is expected"):
        await opened(region="Frankfurt")


async def test_it_may_publish_in_its_own_namespace_alone() -> None:
    [permission] = CloudWatchMetrics.permissions(Opening(directory=Path(), options={}))

    assert (permission.actions, permission.resources) == (("cloudwatch:PutMetricData",), ("*",))
    assert permission.condition == {"StringEquals": {"cloudwatch:namespace": "Turnout"}}
    role = "arn:aws:iam::123456789012:role/turnout"
    [taken] = CloudWatchMetrics.permissions(Opening(directory=Path(), options={"role": role}))
    assert (taken.actions, taken.resources) == (("sts:AssumeRole",), (role,))


async def test_a_project_that_says_so_publishes_and_counts_its_workers(server: str, tmp_path: Path) -> None:
    options = {"region": "eu-central-1", "endpoint_url": server}
    settings = Settings(
        root=tmp_path,
        environment="production",
        project=ProjectSettings(name="counted"),
        metrics=MetricSettings(kind="cloudwatch", options=options),
    )
    platform = await Platform.open(settings, load_plugins())
    try:
        [backlog] = [one for one in services_of(platform) if one.name == "backlog"]
        [presence] = presence_of(platform)
        await presence.start()
        presences = Presences(platform.stores.catalog, platform.stores.clock)
        while not await presences.count():
            await asyncio.sleep(0.01)

        await backlog.start()
        await backlog.timers()[0].handle(Invocation())

        client = boto3.client("cloudwatch", endpoint_url=server)
        now = datetime.now(UTC)
        [point] = client.get_metric_statistics(
            Namespace="Turnout",
            MetricName="Workers",
            Dimensions=[{"Name": "Deployment", "Value": "counted-production"}],
            StartTime=now - timedelta(minutes=5),
            EndTime=now + timedelta(minutes=1),
            Period=3600,
            Statistics=["Average"],
        )["Datapoints"]
        client.close()
        assert point["Average"] == 1.0
        await backlog.stop()
        await presence.stop()
    finally:
        await platform.close()


async def test_a_project_that_says_nothing_has_no_such_service(tmp_path: Path) -> None:
    platform = await Platform.open(Settings(root=tmp_path), load_plugins())
    try:
        assert [one for one in services_of(platform) if one.name == "backlog"] == []
        assert presence_of(platform) == ()
    finally:
        await platform.close()
