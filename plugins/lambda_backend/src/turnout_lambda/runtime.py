"""What runs in Lambda: an event becomes a call of a service's handler.

A process of Lambda's handles one event at a time, and is frozen between two: everything is opened at the first, on an event
loop that is kept, and used again for as long as the process happens to live.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from turnout.hosting import Host

__all__ = ["SECRET_PREFIX", "Functions"]

SECRET_PREFIX: Final = "TURNOUT_SECRET_ARN_"  # noqa: S105 - a name
"""`TURNOUT_SECRET_ARN_REDIS_URL` is where the value of `REDIS_URL` is in Secrets Manager."""
_STORAGE: Final = Path("/tmp/turnout")  # noqa: S108 - the only place that a function can write to, and no other's
_MARGIN_S: Final = 2.0
"""What a call leaves of its time, for its answer to arrive."""


class Context(Protocol):
    """Lambda's own, as far as it is needed."""

    def get_remaining_time_in_millis(self) -> int: ...


class Functions:
    """The functions of the project in `root`. Nothing is opened, and little imported, before the first event."""

    def __init__(self, root: Path, *, storage: Path = _STORAGE) -> None:
        self._root = root
        self._storage = storage
        self._applications: dict[str, Any] = {}

    def tick(self, service: str, timer: str, context: Context) -> Mapping[str, str]:
        """Call a timer of a service. What it raises is raised: Lambda counts it as an error, and the next tick comes."""
        self._loop.run_until_complete(self._host.tick(service, timer, _remaining(context)))
        return {"service": service, "timer": timer}

    def consume(self, service: str, consumer: str, context: Context) -> Mapping[str, str]:
        """Give a consumer of a service what is new of the event stream."""
        self._loop.run_until_complete(self._host.consume(service, consumer, _remaining(context)))
        return {"service": service, "consumer": consumer}

    def work(self, service: str, context: Context) -> Mapping[str, str]:
        """Have a service do in this call what it does between calls elsewhere."""
        self._loop.run_until_complete(self._host.work(service, _remaining(context)))
        return {"service": service}

    def run(self, event: Mapping[str, Any], context: Context) -> Mapping[str, Any]:
        """Run the executions that messages of SQS are about. Messages that this call does not use up are named in the answer: they
        come again, or, where they are none of ours, go to SQS's dead letters."""
        from turnout_lambda.sqs_hints import received

        messages = {one["messageId"]: received(one["receiptHandle"], one["body"]) for one in event["Records"]}

        async def lease(queue: Any, worker: str) -> Any:
            return await queue.accept(worker, list(messages.values()))

        leases = self._loop.run_until_complete(self._host.run(lease, _remaining(context)))
        ran = {one.message.id for one in leases}
        left = [id for id, one in messages.items() if one.hint is None or one.hint.id not in ran]
        return {"batchItemFailures": [{"itemIdentifier": id} for id in left]}

    def answer(self, service: str, event: Any, context: Any) -> Any:
        """Answer a request that came by a function URL or an HTTP API, in the payload's format 2.0."""
        from mangum import Mangum

        if service not in self._applications:
            application = self._loop.run_until_complete(self._host.application(service))
            self._applications[service] = Mangum(application, lifespan="off")
        return self._applications[service](event, context)

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        return loop

    @cached_property
    def _host(self) -> Host:
        from turnout.hosting import Host

        _fetch_secrets(os.environ)
        return self._loop.run_until_complete(Host.open(self._root, storage=self._storage))


def _remaining(context: Context) -> Callable[[], float]:
    return lambda: context.get_remaining_time_in_millis() / 1000 - _MARGIN_S


def _fetch_secrets(environment: Any) -> None:
    """Set the variables whose values are in Secrets Manager, where settings look for them."""
    wanted = {
        name.removeprefix(SECRET_PREFIX): address
        for name, address in environment.items()
        if name.startswith(SECRET_PREFIX)
    }
    if not wanted:
        return
    import boto3  # type: ignore[import-untyped]  # of Lambda's runtime

    client = boto3.client("secretsmanager")
    for name, address in wanted.items():
        environment[name] = client.get_secret_value(SecretId=address)["SecretString"]
