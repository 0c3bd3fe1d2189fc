"""AWS Lambda as a compute target: services as functions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from turnout.interfaces.deployment import Deployment, Description
from turnout.interfaces.target import Target, TargetLimits

__all__ = ["LambdaTarget"]


class LambdaTarget(Target):
    """A function for each trigger of a service: each timer, each consumer of the event stream, and all its routes together. The
    runner's is called with the messages of a queue on SQS, or once a minute.

    The limits are Lambda's: 900 seconds a call, 10,240 MB; a function URL passes on 6 MB, of which a body in base64 is three
    quarters (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
    """

    name: ClassVar[str] = "lambda"
    limits: ClassVar[TargetLimits] = TargetLimits(
        call_s=900.0,
        request_bytes=4_500_000,
        memory_bytes=10_240 * 1024 * 1024,
        long_polling=False,
        long_lived=False,
        keeps_files=False,
        queues=frozenset({"sqs"}),
        privileges=frozenset(),
    )

    @classmethod
    def describe(cls, deployment: Deployment, directory: Path, tell: Callable[[str], None]) -> Description:
        from turnout_lambda.packaging.description import describe

        return describe(deployment, directory, tell)
