"""Messages of SQS given to a function, as Lambda's event source mapping does it.

https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.scenario.functions import Answer, Function

__all__ = ["called_by_messages", "event_of"]

_BATCH = 10


def event_of(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """As Lambda writes them."""
    return {
        "Records": [
            {
                "messageId": one["MessageId"],
                "receiptHandle": one["ReceiptHandle"],
                "body": one["Body"],
                "attributes": one.get("Attributes", {}),
                "messageAttributes": {},
                "md5OfBody": one["MD5OfBody"],
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:jobs",
                "awsRegion": "eu-central-1",
            }
            for one in messages
        ]
    }


def _settle(sqs: Any, url: str, messages: list[dict[str, Any]], answer: Answer) -> None:
    """Delete what the function has used up: all but what it named, and nothing where it failed."""
    if answer.error is not None:
        return
    failed = {one["itemIdentifier"] for one in answer.value["batchItemFailures"]}
    for one in messages:
        if one["MessageId"] not in failed:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])


@contextmanager
def called_by_messages(sqs: Any, url: str, function: Function) -> Iterator[list[Answer]]:
    """Give the function what the queue has, as soon as it has something; its answers."""
    stop, answers = threading.Event(), list[Answer]()

    def poll() -> None:
        while not stop.is_set():
            found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=_BATCH, WaitTimeSeconds=1)
            messages = found.get("Messages", [])
            if messages:
                answer = function.call(event_of(messages))
                answers.append(answer)
                _settle(sqs, url, messages, answer)

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join()
