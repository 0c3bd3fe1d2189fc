"""The entry point: what this distribution provides. It loads none of it until it is asked, and boto3 not before it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from turnout.hookspecs import hookimpl

if TYPE_CHECKING:
    from turnout.interfaces.queue import Queue
    from turnout.interfaces.target import Target

__all__: list[str] = []


@hookimpl
def turnout_queues() -> Mapping[str, type[Queue]]:
    from turnout_lambda.sqs_queue import SqsQueue

    return {"sqs": SqsQueue}


@hookimpl
def turnout_stores() -> Mapping[str, type]:
    from turnout_lambda.s3_payloads import S3PayloadStore

    return {"payloads:s3": S3PayloadStore}


@hookimpl
def turnout_targets() -> Mapping[str, type[Target]]:
    from turnout_lambda.target import LambdaTarget

    return {"lambda": LambdaTarget}
