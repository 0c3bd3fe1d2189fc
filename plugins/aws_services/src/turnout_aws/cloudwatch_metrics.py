"""How the queue stands, as metrics of CloudWatch, at high resolution: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, Self

from turnout.interfaces.metric_sink import DIMENSION, NAMESPACE, MetricSink, QueueGauges
from turnout.interfaces.opening import Opening
from turnout.interfaces.permission import Permission

from turnout_aws.clients import AwsOptions, call, connect_client

__all__ = ["CloudWatchMetrics"]

_RESOLUTION_S: Final = 1
"""What CloudWatch calls high: it keeps a minute's average of anything else, and no alarm looks at less."""
_ACTION: Final = "cloudwatch:PutMetricData"


class CloudWatchMetrics(MetricSink):
    """All gauges in one request. It is asked once: the next ones come soon."""

    def __init__(self, client: Any) -> None:
        self._client = client

    @classmethod
    def permissions(cls, opening: Opening) -> Sequence[Permission]:
        options = opening.read(AwsOptions)
        if options.role is not None:
            return (Permission(actions=("sts:AssumeRole",), resources=(options.role,)),)
        # No resource can be named; the namespace can:
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/iam-cw-condition-keys-namespace.html
        condition = {"StringEquals": {"cloudwatch:namespace": NAMESPACE}}
        return (Permission(actions=(_ACTION,), resources=("*",), condition=condition),)

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        options = opening.read(AwsOptions)
        setting = f"{opening.table}.{opening.name}"
        return cls(await connect_client("cloudwatch", options, setting=setting, attempts=1))

    async def publish(self, gauges: QueueGauges) -> None:
        at = datetime.fromtimestamp(gauges.at, UTC)
        data = [
            {
                "MetricName": name,
                "Dimensions": [{"Name": DIMENSION, "Value": gauges.deployment}],
                "Timestamp": at,
                "Value": value,
                "Unit": "Seconds" if name.endswith("Seconds") else "Count",
                "StorageResolution": _RESOLUTION_S,
            }
            for name, value in gauges.values().items()
        ]
        what = "CloudWatch does not take how the queue stands"
        await call(what, self._client.put_metric_data, Namespace=NAMESPACE, MetricData=data)

    def describe(self) -> str:
        return f"CloudWatch, namespace {NAMESPACE}"

    async def close(self) -> None:
        self._client.close()
