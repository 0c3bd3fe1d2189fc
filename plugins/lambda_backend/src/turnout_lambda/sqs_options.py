"""The table `[backends.sqs]` of `turnout.toml`, the queue that it comes to, and what a template gives that queue."""

from __future__ import annotations

import json
from typing import Any, Final

from pydantic import Field
from turnout.errors import SettingsError

from turnout_lambda.clients import AwsOptions, CallFailed, call

__all__ = ["SqsOptions", "queue_attributes", "queue_url"]

_RETENTION_S: Final = 14 * 24 * 3600
_RECEIVES: Final = 100
_FEWEST_RECEIVES: Final = 20


class SqsOptions(AwsOptions):
    """`[backends.sqs]`."""

    @property
    def arn(self) -> str:
        """Where IAM and Lambda find the queue: of a name, in the account and the region of the deployment."""
        host, _, name = self.queue.rpartition("/")
        account = host.rpartition("/")[2] if host else "${AWS::AccountId}"
        return f"arn:${{AWS::Partition}}:sqs:${{AWS::Region}}:{account}:{name}"

    queue: str = Field(
        pattern=r"^(https?://[^\s@]+/)?[A-Za-z0-9_-]{1,80}(\.fifo)?$",
        description="The queue's name, or its URL: a standard queue. It is not made: your templates do.",
    )


def queue_attributes(dead_letters_arn: str) -> dict[str, str]:
    """What a template gives the queue, in the words of SQS's API. What nobody can read goes to the dead letters of SQS;
    executions that fail go to Turnout's own, so `maxReceiveCount` is far above the attempts of any."""
    redrive = {"deadLetterTargetArn": dead_letters_arn, "maxReceiveCount": _RECEIVES}
    return {
        "MessageRetentionPeriod": str(_RETENTION_S),
        "ReceiveMessageWaitTimeSeconds": "20",
        "RedrivePolicy": json.dumps(redrive),
        "SqsManagedSseEnabled": "true",
    }


async def queue_url(client: Any, options: SqsOptions, *, setting: str) -> str:
    """Where the queue is, checked: it is there, and does nothing that Turnout does not know of."""
    url = options.queue
    try:
        if "/" not in url:
            answer = await call(f"{setting}: SQS does not find it", client.get_queue_url, QueueName=url)
            url = answer["QueueUrl"]
        answer = await call(
            f"{setting}: SQS does not describe it", client.get_queue_attributes, QueueUrl=url, AttributeNames=["All"]
        )
    except CallFailed as error:
        if error.code.rpartition(".")[2] in ("NonExistentQueue", "QueueDoesNotExist"):
            message = f"{setting}: there is no queue {options.queue!r}: make it, in the region of Turnout"
            raise SettingsError(message, setting=setting) from error
        raise
    _check(answer["Attributes"], options.queue, setting)
    return url


def _check(attributes: dict[str, str], name: str, setting: str) -> None:
    if attributes.get("FifoQueue") == "true":
        message = f"{setting}: {name!r} is a FIFO queue, which delays no single message: a standard queue is needed"
        raise SettingsError(message, setting=setting)
    receives = int(json.loads(attributes.get("RedrivePolicy") or "{}").get("maxReceiveCount", _RECEIVES))
    if receives < _FEWEST_RECEIVES:
        message = (
            f"{setting}: {name!r} gives a message up after {receives} receives (`maxReceiveCount`), and Turnout counts attempts "
            f"by itself: set it to {_RECEIVES}"
        )
        raise SettingsError(message, setting=setting)
