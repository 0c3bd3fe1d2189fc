"""Logs to CloudWatch Logs: the contract against a real server's groups and streams, and what AWS documents beside."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from turnout.errors import BackendError, Overloaded, SettingsError
from turnout.interfaces.clock import Clock, SystemClock
from turnout.interfaces.log_sink import LogSink
from turnout.interfaces.opening import Opening
from turnout.testing.clock import ManualClock
from turnout.testing.log_sink import Arrived, LogSinkContract, OtherSide, log_entry
from turnout_aws.cloudwatch_logs import CloudWatchLogs, _Event, _parts

from .gate import Answer, Asked, Gate, gate, json_answer, refusal

NOW = 1_700_000_000.0
DAY_S = 86400.0


async def opened(url: str, clock: Clock | None = None, **options: Any) -> CloudWatchLogs:
    given = {"group": "/turnout/test", "region": "eu-central-1", "endpoint_url": url, **options}
    return await CloudWatchLogs.connect(
        Opening(directory=Path(), table="logs", name="cw.options", options=given, clock=clock or SystemClock())
    )


@pytest.fixture
def logs(server: str) -> Iterator[Any]:
    """A client of one's own, to look with."""
    client = boto3.client("logs", endpoint_url=server)
    yield client
    client.close()


@pytest.fixture
def group(request: pytest.FixtureRequest) -> str:
    """One that no other test writes to."""
    return f"/turnout/{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16]}"


@pytest.fixture
def way(server: str) -> Iterator[Gate]:
    with gate(server) as made:
        yield made


@pytest.fixture
def dead_end() -> Iterator[Gate]:
    """Before nothing: it takes all it is sent."""
    with gate() as made:
        made.answer = lambda asked: json_answer({})
        yield made


def lines(logs: Any, group: str) -> dict[str, list[dict[str, Any]]]:
    """What each stream of a group holds."""
    found = {}
    for page in logs.get_paginator("describe_log_streams").paginate(logGroupName=group):
        for stream in page["logStreams"]:
            found[stream["logStreamName"]] = list(_events(logs, group, stream["logStreamName"]))
    return found


def _events(logs: Any, group: str, stream: str) -> Iterator[dict[str, Any]]:
    token: dict[str, str] = {}
    while True:
        answer = logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True, **token)
        yield from answer["events"]
        if token.get("nextToken") == answer["nextForwardToken"]:
            return
        token = {"nextToken": answer["nextForwardToken"]}


class Group(OtherSide):
    credential = "testing-secret"

    def __init__(self, logs: Any, name: str, way: Gate) -> None:
        self.logs = logs
        self.name = name
        self.way = way

    async def arrived(self) -> Sequence[Arrived]:
        try:
            streams = lines(self.logs, self.name)
        except self.logs.exceptions.ResourceNotFoundException:
            return []
        said = [json.loads(event["message"]) for events in streams.values() for event in events]
        return [
            Arrived(id=one["id"], customer=one.get("customer", ""), level=one["level"], message=one["message"])
            for one in said
        ]

    async def go_down(self) -> None:
        self.way.answer = lambda asked: refusal("ServiceUnavailableException", status=503)

    async def come_back(self) -> None:
        self.way.answer = lambda asked: None


class TestCloudWatchLogs(LogSinkContract):
    @pytest.fixture
    def now(self) -> float:
        return time.time() - 60

    @pytest.fixture
    def other_side(self, logs: Any, group: str, way: Gate) -> OtherSide:
        return Group(logs, group, way)

    @pytest.fixture
    async def sink(self, way: Gate, group: str) -> AsyncIterator[LogSink]:
        sink = await opened(way.url, group=group)
        yield sink
        await sink.close()


async def test_group_and_streams_are_made_where_they_are_missing_one_for_each_customer(
    server: str, logs: Any, group: str
) -> None:
    sink = await opened(server, group=group, retention_days=30)
    now = time.time()

    await sink.write([log_entry(1, at=now), log_entry(2, at=now, tenant="globex"), log_entry(3, at=now, tenant="")])
    await sink.write([log_entry(4, at=now)])

    found = lines(logs, group)
    ids = {stream: [json.loads(event["message"])["id"] for event in events] for stream, events in found.items()}
    assert ids == {"acme": ["1", "4"], "globex": ["2"], "(none)": ["3"]}
    assert logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]["retentionInDays"] == 30
    await sink.close()


async def test_streams_are_named_as_the_settings_say_whatever_a_customer_is_called(
    server: str, logs: Any, group: str
) -> None:
    sink = await opened(server, group=group, stream="prod/{customer}/{integration}")
    now = time.time()
    long = "x" * 600

    tenants = ["a:b*c", "(none)", "", f"{long}1", f"{long}2"]
    await sink.write([log_entry(number, at=now, tenant=tenant) for number, tenant in enumerate(tenants)])

    first, second, *others = sorted(lines(logs, group), key=len, reverse=True)
    assert sorted(others) == ["prod/%28none%29/orders", "prod/(none)/orders", "prod/a%3Ab%2Ac/orders"]
    assert first != second
    assert len(first) == len(second) == 512
    await sink.close()


async def test_retention_of_a_group_that_is_there_is_set_once(way: Gate, logs: Any, group: str) -> None:
    logs.create_log_group(logGroupName=group)
    sink = await opened(way.url, group=group, retention_days=7)

    for number in range(3):
        await sink.write([log_entry(number, at=time.time())])

    assert logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]["retentionInDays"] == 7
    assert len(way.of("PutRetentionPolicy")) == 1
    assert not way.of("CreateLogGroup")
    await sink.close()


async def test_a_retention_that_may_not_be_set_is_told_and_keeps_no_line_back(
    dead_end: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    dead_end.answer = lambda asked: (
        refusal("AccessDeniedException") if asked.operation == "PutRetentionPolicy" else json_answer({})
    )
    clock = ManualClock(NOW)
    sink = await opened(dead_end.url, clock, retention_days=7)

    shipped = [await sink.write([log_entry(number, at=NOW)]) for number in range(3)]

    assert [one.failed for one in shipped] == [(), (), ()]
    assert caplog.text.count("retention_days cannot be set: AccessDeniedException") == 1
    clock.advance(3601)
    await sink.write([log_entry(4, at=NOW)])
    assert caplog.text.count("retention_days cannot be set: AccessDeniedException") == 2
    await sink.close()


def puts(way: Gate) -> list[list[dict[str, Any]]]:
    return [one.json["logEvents"] for one in way.of("PutLogEvents")]


async def test_requests_keep_to_the_limits_that_are_documented(dead_end: Gate) -> None:
    clock = ManualClock(NOW)
    sink = await opened(dead_end.url, clock)
    small = [log_entry(number, at=NOW) for number in range(2500)]
    large = [log_entry(number, at=NOW, message="ü" * 200_000, tenant="large") for number in range(7)]
    whole = [log_entry(1, at=NOW, message="x" * 3_000_000, tenant="whole")]

    await sink.write([*small, *large, *whole])

    requests = puts(dead_end)
    assert sum(map(len, requests)) == 2508
    for events in requests:
        assert len(events) <= 10_000
        assert sum(len(event["message"].encode()) + 26 for event in events) <= 1_048_576
        assert max(len(event["message"].encode()) for event in events) <= 1_000_000
    # As few as there can be: a stream's are filled.
    assert len([events for events in requests if json.loads(events[0]["message"])["customer"] == "large"]) == 4
    await sink.close()


def test_ten_thousand_events_are_one_request_and_one_more_is_another() -> None:
    """Lines of JSON fill a request by their bytes before there are so many: shorter ones have to be made up."""
    events = [_Event(str(number), 0, b"x") for number in range(10_001)]

    assert [len(part) for part in _parts(events)] == [10_000, 1]


async def test_events_are_in_the_order_of_their_times_and_within_a_day_of_each_other(dead_end: Gate) -> None:
    sink = await opened(dead_end.url, ManualClock(NOW))
    ages = [0.0, 3.0, 1.0, 1.5, 0.25, 9.0]  # days

    await sink.write([log_entry(number, at=NOW - age * DAY_S) for number, age in enumerate(ages)])

    requests = [[event["timestamp"] for event in events] for events in puts(dead_end)]
    assert [len(times) for times in requests] == [1, 1, 2, 2]
    for times in requests:
        assert times == sorted(times)
        assert times[-1] - times[0] < DAY_S * 1000
    await sink.close()


@pytest.mark.parametrize(("days", "options"), [(13.0, {}), (15.0, {}), (-0.2, {}), (4.0, {"retention_days": 3})])
async def test_what_cloudwatch_would_reject_for_its_time_comes_with_that_of_its_shipping(
    server: str, logs: Any, group: str, days: float, options: dict[str, Any]
) -> None:
    now = time.time()
    at = now - days * DAY_S
    sink = await opened(server, ManualClock(now), group=group, **options)

    shipped = await sink.write([log_entry(0, at=at)])

    assert (shipped.failed, shipped.refused) == ((), 0)
    [event] = lines(logs, group)["acme"]
    assert event["timestamp"] == int(1000 * (at if days == 13.0 else now))
    assert json.loads(event["message"])["time"][:10] == time.strftime("%Y-%m-%d", time.gmtime(at))
    await sink.close()


@pytest.mark.parametrize(
    ("info", "refused", "reason"),
    [
        ({"tooOldLogEventEndIndex": 2}, 2, "older than 14 days"),
        ({"expiredLogEventEndIndex": 3}, 3, "older than the group keeps events"),
        ({"tooNewLogEventStartIndex": 4}, 1, "more than 2 hours ahead: is this machine's clock right?"),
        ({"tooOldLogEventEndIndex": 1, "expiredLogEventEndIndex": 2, "tooNewLogEventStartIndex": 3}, 4, "older than 1"),
        ({}, 0, ""),
    ],
)
async def test_events_that_are_rejected_are_counted_and_the_others_are_not_sent_again(
    dead_end: Gate, info: dict[str, int], refused: int, reason: str
) -> None:
    dead_end.answer = lambda asked: json_answer({"rejectedLogEventsInfo": info})
    sink = await opened(dead_end.url, ManualClock(NOW))

    shipped = await sink.write([log_entry(number, at=NOW) for number in range(5)])

    assert (shipped.failed, shipped.refused) == ((), refused)
    assert shipped.reason.startswith(reason)
    assert len(dead_end.asked) == 1
    await sink.close()


@pytest.mark.parametrize(
    ("answer", "waits"),
    [
        (refusal("ThrottlingException", "Rate exceeded"), 5.0),
        (refusal("LimitExceededException", "Rate exceeded"), 5.0),
        (refusal("ServiceUnavailableException", status=503, **{"retry-after": "17"}), 17.0),
        (refusal("ServiceUnavailableException", status=503, **{"retry-after": "9999"}), 300.0),
    ],
)
async def test_who_is_throttled_comes_later_and_asks_once(dead_end: Gate, answer: Answer, waits: float) -> None:
    dead_end.answer = lambda asked: answer
    sink = await opened(dead_end.url, ManualClock(NOW))

    with pytest.raises(Overloaded) as caught:
        await sink.write([log_entry(at=NOW)])

    assert caught.value.retry_after_s == waits
    assert len(dead_end.asked) == 1
    await sink.close()


def only(stream: str, answer: Answer) -> Callable[[Asked], Answer | None]:
    return lambda asked: answer if asked.json.get("logStreamName") == stream else json_answer({})


async def test_a_stream_that_fails_holds_up_no_other(dead_end: Gate, caplog: pytest.LogCaptureFixture) -> None:
    dead_end.answer = only("acme", refusal("ThrottlingException"))
    sink = await opened(dead_end.url, ManualClock(NOW))

    shipped = await sink.write([log_entry(1, at=NOW), log_entry(2, at=NOW, tenant="globex"), log_entry(3, at=NOW)])

    assert shipped.failed == ("1", "3")
    assert "2 lines wait, and are shipped again" in caplog.text
    await sink.close()


async def test_what_was_taken_before_it_failed_does_not_come_again(dead_end: Gate) -> None:
    dead_end.answer = lambda asked: json_answer({}) if len(dead_end.asked) < 3 else refusal("ThrottlingException")
    sink = await opened(dead_end.url, ManualClock(NOW))

    shipped = await sink.write([log_entry(number, at=NOW, message="x" * 900_000) for number in range(4)])

    assert shipped.failed == ("2", "3")
    await sink.close()


async def test_an_event_that_is_refused_takes_no_other_with_it(dead_end: Gate) -> None:
    dead_end.answer = lambda asked: (
        refusal("InvalidParameterException", "Log event too large") if b"poison" in asked.body else json_answer({})
    )
    sink = await opened(dead_end.url, ManualClock(NOW))
    messages = ["poison" if number == 7 else "fine" for number in range(20)]

    shipped = await sink.write([log_entry(number, at=NOW, message=text) for number, text in enumerate(messages)])

    assert (shipped.failed, shipped.refused) == ((), 1)
    assert "Log event too large" in shipped.reason
    taken = [events for events in puts(dead_end) if "poison" not in str(events)]
    assert [json.loads(event["message"])["id"] for events in taken for event in events] == [
        str(number) for number in range(20) if number != 7
    ]
    await sink.close()


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        ("PutLogEvents", r"stream 'acme' takes no lines: AccessDeniedException.*needs that permission"),
        ("CreateLogStream", "the stream cannot be made: AccessDeniedException"),
        ("CreateLogGroup", "the group cannot be made: AccessDeniedException"),
    ],
)
async def test_a_permission_that_is_missing_is_named_with_the_table(
    way: Gate, group: str, operation: str, said: str
) -> None:
    way.answer = lambda asked: refusal("AccessDeniedException") if asked.operation == operation else None
    sink = await opened(way.url, group=group)

    with pytest.raises(BackendError, match=rf"logs\.cw\.options: CloudWatch Logs, group {group}: {said}"):
        await sink.write([log_entry(at=time.time())])
    await sink.close()


async def test_two_that_make_the_same_at_once_both_go_on(way: Gate, logs: Any, group: str) -> None:
    """Another process made the group and the stream between this one's looking and making."""
    made: list[str] = []

    def elsewhere(asked: Asked) -> None:
        if asked.operation == "CreateLogGroup" and not made:
            logs.create_log_group(logGroupName=group)
            logs.create_log_stream(logGroupName=group, logStreamName="acme")
            made.append(group)

    way.answer = elsewhere
    sink = await opened(way.url, group=group)

    shipped = await sink.write([log_entry(1, at=time.time())])

    assert (shipped.failed, made) == ((), [group])
    assert len(lines(logs, group)["acme"]) == 1
    await sink.close()


async def test_a_signatures_refusal_does_not_show_what_was_signed(
    dead_end: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS answers with the canonical request, in which the session's token stands."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session-hunter22")
    dead_end.answer = lambda asked: refusal(
        "SignatureDoesNotMatch", f"it does not match.\n\nx-amz-security-token:{asked.headers['x-amz-security-token']}"
    )
    sink = await opened(dead_end.url, ManualClock(NOW))

    with pytest.raises(BackendError, match="it does not match") as caught:
        await sink.write([log_entry(at=NOW)])

    assert "hunter22" not in str(caught.value)
    await sink.close()


async def test_nothing_of_requests_is_logged(server: str, group: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        sink = await opened(server, group=group)
        await sink.write([log_entry(at=time.time(), message="hunter22")])

    assert "hunter22" not in caplog.text
    assert "testing-secret" not in caplog.text
    await sink.close()


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"group": None}, "logs.cw.options.group: it must be set"),
        ({"group": "aws/lambda"}, "logs.cw.options.group: a log group's name is expected"),
        ({"group": "a b"}, "logs.cw.options.group: a log group"),
        ({"groop": "x"}, "logs.cw.options.groop: unknown setting: did you mean 'group'?"),
        ({"stream": "a:b"}, "logs.cw.options.stream: 1 to 256 characters"),
        ({"stream": "{tenant}"}, "logs.cw.options.stream: between braces stand customer,"),
        ({"retention_days": 8}, "logs.cw.options.retention_days: CloudWatch knows 1, 3, 5,"),
        ({"region": "Frankfurt"}, "logs.cw.options.region: a region is expected"),
        ({"role": "turnout"}, "logs.cw.options.role: a role's ARN is expected"),
        ({"profile": "absent"}, "logs.cw.options.profile: AWS's own files have no profile of that name"),
        ({"endpoint_url": "http://user:hunter22@x"}, "logs.cw.options.endpoint_url: string should match pattern"),
    ],
)
async def test_options_that_are_wrong_are_named(options: dict[str, Any], fault: str) -> None:
    given = {"group": "/turnout/test", "region": "eu-central-1", **options}

    with pytest.raises(SettingsError) as caught:
        await CloudWatchLogs.connect(
            Opening(
                directory=Path(),
                table="logs",
                name="cw.options",
                options={name: value for name, value in given.items() if value is not None},
            )
        )

    assert fault.lower() in str(caught.value).lower()
    assert "hunter22" not in str(caught.value)


async def test_without_a_region_or_credentials_it_says_what_to_set(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(SettingsError, match=r"logs\.cw\.options\.region: it must be set, or AWS_REGION"):
        await CloudWatchLogs.connect(Opening(directory=Path(), table="logs", name="cw.options", options={"group": "x"}))

    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    sink = await opened(server)
    with pytest.raises(BackendError, match=r"logs\.cw\.options: .* no credentials of AWS were found: .* `profile`"):
        await sink.write([log_entry()])
    await sink.close()
