"""Logs to Amazon CloudWatch Logs: a log stream a customer, made where it is missing.

Limits: https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html. A request has at most 10,000
events and 1,048,576 bytes, 26 bytes counted for each event beside its message; its events are in the order of their times, and
within 24 hours. An event has at most 1 MB. One that is older than 14 days or more than 2 hours ahead is rejected, and the others
are taken. There are no sequence tokens any more.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Self
from urllib.parse import quote

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError
from turnout.errors import BackendError, Overloaded
from turnout.interfaces.clock import Clock
from turnout.interfaces.log_lines import fields_of, fitted
from turnout.interfaces.log_sink import LogEntry, LogSink, Shipped
from turnout.interfaces.opening import Opening
from turnout.interfaces.permission import Permission

from turnout_aws.clients import AwsOptions, CallFailed, call, connect_client, shaped
from turnout_aws.permissions import allowed, arn

__all__ = ["CloudWatchLogs", "CloudWatchOptions"]

_MOST: Final = 10_000
_MOST_BYTES: Final = 1_048_576
_OVERHEAD_BYTES: Final = 26
_EVENT_BYTES: Final = 1_000_000
_SPAN_MS: Final = 24 * 3600 * 1000
_DAY_S: Final = 86400.0
_OLDEST_S: Final = 14 * _DAY_S
_NEWEST_S: Final = 2 * 3600.0
_MARGIN_S: Final = 600.0
"""A request takes its time, and clocks differ."""
_AT_ONCE: Final = 8
_THROTTLED_S: Final = 5.0
_KEEP_AGAIN_S: Final = 3600.0
_LONGEST_STREAM: Final = 512
_NOBODY: Final = "(none)"
"""What belongs to no customer: no customer's name comes out as this."""
_GROUP: Final = r"(?!aws/)[./#A-Za-z0-9_-]{1,512}"
_FIELDS: Final = {"customer": "tenant", "integration": "integration", "instance": "instance", "flow": "flow"}
_FIELD: Final = re.compile(r"\{(\w*)\}")
_RETENTIONS: Final = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545),
    *(731, 1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
_MISSING: Final = "ResourceNotFoundException"
_THERE: Final = "ResourceAlreadyExistsException"
_AT_FAULT: Final = frozenset({"InvalidParameterException", "SerializationException"})
"""The request is at fault: each half of it may be taken."""
_log = logging.getLogger("turnout.logs")


def _stream(given: str) -> str:
    if not re.fullmatch(r"[^:*\x00-\x1f]{1,256}", given):
        raise PydanticCustomError("stream", "1 to 256 characters are expected, without `:` and `*`")
    if any(name not in _FIELDS for name in _FIELD.findall(given)):
        raise PydanticCustomError("stream", "between braces stand customer, integration, instance or flow")
    return given


def _retention(given: int) -> int:
    if given not in _RETENTIONS:
        raise PydanticCustomError("retention", f"CloudWatch knows {', '.join(map(str, _RETENTIONS))} days")
    return given


class CloudWatchOptions(AwsOptions):
    """`options` of a table `[logs.<name>]` of kind `cloudwatch`."""

    group: Annotated[str, shaped(_GROUP, "a log group's name is expected, \"/turnout/prod\"; `aws/` is AWS's own")] = (
        Field(description="The log group; it is made where it is missing.")
    )
    stream: Annotated[str, AfterValidator(_stream)] = Field(
        default="{customer}",
        description="The log stream: text with `{customer}`, `{integration}`, `{instance}`, `{flow}`.",
    )
    retention_days: Annotated[int, AfterValidator(_retention)] | None = Field(
        default=None, description="How long the group keeps events; without it what is set there."
    )


@dataclass(frozen=True, slots=True)
class _Event:
    id: str
    at_ms: int
    line: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.line) + _OVERHEAD_BYTES


@dataclass(frozen=True, slots=True)
class _Came:
    """What came of the events of a stream, and why some of them failed, if some did."""

    shipped: Shipped
    error: CallFailed | None = None


class CloudWatchLogs(LogSink):
    """Writes lines of JSON. Streams are written beside each other, each in the order of its events' times. What is too old or too
    new for CloudWatch gets the time of its shipping; its line says when it was."""

    def __init__(self, client: Any, options: CloudWatchOptions, clock: Clock, *, setting: str) -> None:
        """`setting` is the table of the options, for messages."""
        self._client = client
        self._options = options
        self._clock = clock
        self._what = f"{setting}: CloudWatch Logs, group {options.group}"
        self._beside = asyncio.Semaphore(_AT_ONCE)
        self._making = asyncio.Lock()
        self._keep_at = 0.0 if options.retention_days else None

    @classmethod
    def permissions(cls, opening: Opening) -> Sequence[Permission]:
        options = opening.read(CloudWatchOptions)
        actions = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
        if options.retention_days:
            actions.append("logs:PutRetentionPolicy")
        group = arn("logs", f"log-group:{options.group}", options)
        return allowed(options, actions, (group, f"{group}:*"))  # its streams

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        options = opening.read(CloudWatchOptions)
        setting = f"{opening.table}.{opening.name}"
        client = await connect_client("logs", options, setting=setting, attempts=1)
        return cls(client, options, opening.clock, setting=setting)

    def describe(self) -> str:
        return f"logs to CloudWatch Logs ({self._options.group}, {self._client.meta.region_name})"

    async def write(self, entries: Sequence[LogEntry]) -> Shipped:
        streams: Mapping[str, list[_Event]] = defaultdict(list)
        for entry in entries:
            streams[self._stream(entry)].append(self._event(entry))
        if streams:
            await self._keep()
        came = await asyncio.gather(*(self._ship(stream, events) for stream, events in streams.items()))
        shipped = Shipped(
            failed=tuple(id for one in came for id in one.shipped.failed),
            refused=sum(one.shipped.refused for one in came),
            reason=next((one.shipped.reason for one in came if one.shipped.reason), ""),
        )
        errors = [one.error for one in came if one.error is not None]
        if errors and len(shipped.failed) == len(entries):
            raise _failure(errors)
        if errors:
            _log.warning("%d lines wait, and are shipped again: %s", len(shipped.failed), errors[0])
        return shipped

    async def close(self) -> None:
        self._client.close()

    def _stream(self, entry: LogEntry) -> str:
        def value(field: re.Match[str]) -> str:
            return quote(getattr(entry, _FIELDS[field[1]]), safe="", errors="surrogatepass") or _NOBODY

        name = _FIELD.sub(value, self._options.stream)
        if len(name) <= _LONGEST_STREAM:
            return name
        # Two that begin alike stay two.
        mark = hashlib.sha256(name.encode()).hexdigest()[:32]
        return f"{name[: _LONGEST_STREAM - 33]}-{mark}"

    def _event(self, entry: LogEntry) -> _Event:
        now = self._clock.now()
        oldest_s = min(_OLDEST_S, (self._options.retention_days or 14) * _DAY_S) - _MARGIN_S
        at = entry.at if now - oldest_s < entry.at < now + _NEWEST_S - _MARGIN_S else now
        fields = fields_of(entry)
        line = fitted(entry.message, lambda message: {**fields, "message": message}, _EVENT_BYTES)
        return _Event(entry.id, int(at * 1000), line)

    async def _ship(self, stream: str, events: Sequence[_Event]) -> _Came:
        waiting = deque(_parts(sorted(events, key=lambda event: event.at_ms)))
        refused, reason = 0, ""
        while waiting:
            part = waiting.popleft()
            try:
                async with self._beside:
                    count, why = _rejected(await self._put(stream, part), len(part))
            except CallFailed as error:
                if error.code not in _AT_FAULT:
                    failed = tuple(event.id for left in (part, *waiting) for event in left)
                    return _Came(Shipped(failed=failed, refused=refused, reason=reason), error)
                if len(part) > 1:
                    waiting.extendleft((part[len(part) // 2 :], part[: len(part) // 2]))
                    continue
                count, why = 1, str(error)
            refused, reason = refused + count, reason or why
        return _Came(Shipped(refused=refused, reason=reason))

    async def _put(self, stream: str, events: Sequence[_Event]) -> Mapping[str, Any]:
        try:
            return await self._put_now(stream, events)
        except CallFailed as error:
            if error.code != _MISSING:
                raise
        async with self._making:
            if not await self._made("stream", self._client.create_log_stream, logStreamName=stream):
                await self._make_group()
                await self._made("stream", self._client.create_log_stream, logStreamName=stream)
        return await self._put_now(stream, events)

    async def _put_now(self, stream: str, events: Sequence[_Event]) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = await call(
            f"{self._what}: stream {stream!r} takes no lines",
            self._client.put_log_events,
            logGroupName=self._options.group,
            logStreamName=stream,
            logEvents=[{"timestamp": event.at_ms, "message": event.line.decode()} for event in events],
        )
        return answer

    async def _make_group(self) -> None:
        await self._made("group", self._client.create_log_group)
        if self._options.retention_days:
            await self._set_retention()

    async def _made(self, what: str, create: Any, **named: str) -> bool:
        """Whether it is there now; False if the group is not that it should be in."""
        try:
            await call(f"{self._what}: the {what} cannot be made", create, logGroupName=self._options.group, **named)
        except CallFailed as error:
            if error.code == _MISSING and what == "stream":
                return False
            if error.code != _THERE:
                raise
        return True

    async def _keep(self) -> None:
        """Have the group keep events as long as the settings say. That it cannot be set keeps no line from being shipped."""
        if self._keep_at is None or self._clock.now() < self._keep_at:
            return
        self._keep_at = self._clock.now() + _KEEP_AGAIN_S
        try:
            await self._set_retention()
        except CallFailed as error:
            if error.code != _MISSING:  # it is set when the group is made
                _log.warning("%s", error)
        else:
            self._keep_at = None

    async def _set_retention(self) -> None:
        await call(
            f"{self._what}: retention_days cannot be set",
            self._client.put_retention_policy,
            logGroupName=self._options.group,
            retentionInDays=self._options.retention_days,
        )


def _parts(events: Sequence[_Event]) -> Iterator[Sequence[_Event]]:
    """Requests' worth of events that are in order."""
    start = size = 0
    for number, event in enumerate(events):
        if number > start and (
            number - start >= _MOST
            or size + event.size_bytes > _MOST_BYTES
            or event.at_ms - events[start].at_ms >= _SPAN_MS
        ):
            yield events[start:number]
            start, size = number, 0
        size += event.size_bytes
    if events:
        yield events[start:]


def _rejected(answer: Mapping[str, Any], events: int) -> tuple[int, str]:
    """How many events of a request were not taken, and why. The ends of what is too old or expired are exclusive, the start of
    what is too new inclusive."""
    info = answer.get("rejectedLogEventsInfo") or {}
    old = max(info.get("tooOldLogEventEndIndex") or 0, info.get("expiredLogEventEndIndex") or 0)
    new = info.get("tooNewLogEventStartIndex")
    count = min(old, events) + (0 if new is None else max(events - max(new, old), 0))
    reasons = [
        text
        for key, text in (
            ("tooOldLogEventEndIndex", "older than 14 days"),
            ("expiredLogEventEndIndex", "older than the group keeps events"),
            ("tooNewLogEventStartIndex", "more than 2 hours ahead: is this machine's clock right?"),
        )
        if key in info
    ]
    return count, ", ".join(reasons)


def _failure(errors: Sequence[CallFailed]) -> BackendError:
    """Of those, the one that says most to who is to ship it again."""
    for error in errors:
        if error.throttled or error.retry_after_s is not None:
            return Overloaded(str(error), retry_after_s=error.retry_after_s or _THROTTLED_S)
    return errors[0]
