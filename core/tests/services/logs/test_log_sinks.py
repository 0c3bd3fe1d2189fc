"""The sinks of this distribution keep the promises of log sinks, against servers that refuse what the real ones refuse."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from turnout.errors import BackendError, Overloaded, SettingsError
from turnout.interfaces.log_sink import LogSink
from turnout.interfaces.opening import Opening
from turnout.interfaces.secrets import Secret
from turnout.services.logs.datadog import DatadogLogs
from turnout.services.logs.file_sink import FileLogs
from turnout.services.logs.otlp_logs import OtlpLogs
from turnout.testing.clock import ManualClock
from turnout.testing.log_sink import Arrived, LogSinkContract, OtherSide, log_entry

from core.tests.services.logs.intake import Intake, collector, datadog

KEY = "dd-key-0123456789abcdef"
TOKEN = "Bearer otlp-hunter22"


async def _secret(written: str) -> Secret:
    return Secret({"env:DD_API_KEY": KEY, "env:OTLP_TOKEN": TOKEN}[written])


def opening(directory: Path, **options: Any) -> Opening:
    return Opening(
        directory=directory,
        table="logs",
        name="x.options",
        options=options,
        secret=_secret,
        clock=ManualClock(1_700_000_000.0),
    )


async def _serving(intake: Intake) -> AsyncIterator[Intake]:
    await intake.come_back()
    yield intake
    await intake.go_down()


class Files(OtherSide):
    def __init__(self, directory: Path) -> None:
        self.directory = directory

    async def arrived(self) -> Sequence[Arrived]:
        found = []
        for path in sorted(self.directory.rglob("*.jsonl*")):
            for line in path.read_bytes().splitlines():
                said = json.loads(line)
                customer = said.get("customer", "")
                found.append(Arrived(id=said["id"], customer=customer, level=said["level"], message=said["message"]))
        return found

    async def go_down(self) -> None:
        (self.directory / "logs").rename(self.directory / "away")
        (self.directory / "logs").write_text("no directory")

    async def come_back(self) -> None:
        (self.directory / "logs").unlink()
        (self.directory / "away").rename(self.directory / "logs")


class TestFileLogs(LogSinkContract):
    @pytest.fixture
    def other_side(self, tmp_path: Path) -> OtherSide:
        return Files(tmp_path)

    @pytest.fixture
    async def sink(self, tmp_path: Path) -> AsyncIterator[LogSink]:
        sink = await FileLogs.connect(opening(tmp_path, path="logs/{customer}.jsonl", size="10 MB", keep=100))
        yield sink
        await sink.close()


class TestDatadogLogs(LogSinkContract):
    @pytest.fixture
    async def other_side(self) -> AsyncIterator[Intake]:
        async for intake in _serving(datadog(KEY)):
            yield intake

    @pytest.fixture
    async def sink(self, other_side: Intake, tmp_path: Path) -> AsyncIterator[LogSink]:
        sink = await DatadogLogs.connect(opening(tmp_path, url=other_side.url, key="env:DD_API_KEY"))
        yield sink
        await sink.close()


class TestOtlpLogs(LogSinkContract):
    @pytest.fixture
    async def other_side(self) -> AsyncIterator[Intake]:
        async for intake in _serving(collector(TOKEN)):
            yield intake

    @pytest.fixture
    async def sink(self, other_side: Intake, tmp_path: Path) -> AsyncIterator[LogSink]:
        headers = {"authorization": "env:OTLP_TOKEN"}
        sink = await OtlpLogs.connect(opening(tmp_path, url=other_side.url, headers=headers))
        yield sink
        await sink.close()


@pytest.fixture
async def intake() -> AsyncIterator[Intake]:
    async for one in _serving(datadog(KEY)):
        yield one


@pytest.fixture
async def shipping(intake: Intake, tmp_path: Path) -> AsyncIterator[LogSink]:
    sink = await DatadogLogs.connect(opening(tmp_path, url=intake.url, key="env:DD_API_KEY", tags={"env": "prod"}))
    yield sink
    await sink.close()


@pytest.mark.parametrize(
    ("status", "after", "waits"), [(429, "17", 17.0), (503, "", 1.0), (500, "soon", 1.0), (408, "9999", 300.0)]
)
async def test_what_an_intake_asks_for_is_when_to_come_again(
    intake: Intake, shipping: LogSink, status: int, after: str, waits: float
) -> None:
    intake.answers = [(status, after)]

    with pytest.raises(Overloaded, match=f"Datadog answers {status}") as failure:
        await shipping.write([log_entry()])

    assert failure.value.retry_after_s == waits


async def test_what_was_taken_before_it_failed_does_not_come_again(intake: Intake, shipping: LogSink) -> None:
    intake.answers = []
    entries = [log_entry(number) for number in range(2500)]
    await shipping.write(entries[:1])
    intake.taken.clear()
    taken = intake.read

    def once(*request: Any) -> Any:
        intake.answers = [(503, "")]
        return taken(*request)

    intake.read = once
    shipped = await shipping.write(entries)

    assert [one.id for one in intake.taken] == [str(number) for number in range(1000)]
    assert shipped.failed == tuple(str(number) for number in range(1000, 2500))


async def test_an_entry_that_an_intake_cannot_take_does_not_take_others_with_it(
    intake: Intake, shipping: LogSink
) -> None:
    taken = intake.read

    def picky(request: Any, body: bytes) -> Any:
        if b"poison" in body:
            raise ValueError
        return taken(request, body)

    intake.read = picky
    entries = [log_entry(number, message="poison" if number == 7 else "fine") for number in range(20)]

    shipped = await shipping.write(entries)

    assert (shipped.failed, shipped.refused, shipped.reason) == ((), 1, "Datadog answers 400")
    assert sorted(int(one.id) for one in intake.taken) == [number for number in range(20) if number != 7]


async def test_a_wrong_key_is_said_and_not_shown(intake: Intake, tmp_path: Path) -> None:
    intake.read = datadog("another key").read
    sink = await DatadogLogs.connect(opening(tmp_path, url=intake.url, key="env:DD_API_KEY"))

    with pytest.raises(BackendError, match="Datadog answers 403: is its key right") as failure:
        await sink.write([log_entry()])

    assert KEY not in str(failure.value)
    await sink.close()


async def test_requests_are_compressed(intake: Intake, shipping: LogSink) -> None:
    await shipping.write([log_entry(message="x" * 500_000)])

    assert intake.requests[0] < 10_000


async def test_a_collector_that_refuses_a_part_is_counted(tmp_path: Path) -> None:
    async for intake in _serving(collector(TOKEN, refuse=2)):
        sink = await OtlpLogs.connect(opening(tmp_path, url=intake.url, headers={"authorization": "env:OTLP_TOKEN"}))

        shipped = await sink.write([log_entry(number) for number in range(5)])

        assert (shipped.failed, shipped.refused, shipped.reason) == ((), 2, "too old")
        await sink.close()


@pytest.mark.parametrize(
    ("kind", "options", "fault"),
    [
        (DatadogLogs, {}, "logs.x.options.key: it must be set"),
        (
            DatadogLogs,
            {"key": "env:DD_API_KEY", "sight": "eu"},
            "logs.x.options.sight: unknown setting: did you mean 'site'?",
        ),
        (DatadogLogs, {"key": "env:DD_API_KEY", "url": "http://user:hunter22@x"}, "without credentials"),
        (OtlpLogs, {}, "logs.x.options.url: it must be set"),
        (FileLogs, {"size": "much"}, "logs.x.options.size"),
    ],
)
async def test_options_that_are_wrong_are_named(
    kind: type[LogSink], options: dict[str, Any], fault: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError) as failure:
        await kind.connect(opening(tmp_path, **options))

    assert fault in str(failure.value)
    assert "hunter22" not in str(failure.value)


async def test_a_file_that_is_large_enough_becomes_an_older_one_and_the_oldest_goes(tmp_path: Path) -> None:
    sink = await FileLogs.connect(opening(tmp_path, path="all.jsonl", size="1 KB", keep=2))

    for number in range(20):
        await sink.write([log_entry(number)])

    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.jsonl", "all.jsonl.1", "all.jsonl.2"]
    newest = [one.id for one in await Files(tmp_path).arrived()]
    assert "19" in newest
    assert "0" not in newest
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())


async def test_each_customer_has_a_file_of_its_own_whatever_it_is_called(tmp_path: Path) -> None:
    sink = await FileLogs.connect(opening(tmp_path / "store", path="logs/{customer}.jsonl"))

    await sink.write([log_entry(1, tenant="../../etc/passwd"), log_entry(2, tenant="acme"), log_entry(3, tenant="..")])

    assert sorted(path.name for path in (tmp_path / "store" / "logs").iterdir()) == [
        "%2E%2E%2F%2E%2E%2Fetc%2Fpasswd.jsonl",
        "%2E%2E.jsonl",
        "acme.jsonl",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


async def test_a_line_that_a_process_died_in_is_not_joined_to_another(tmp_path: Path) -> None:
    sink = await FileLogs.connect(opening(tmp_path, path="all.jsonl"))
    (tmp_path / "all.jsonl").write_bytes(b'{"id": "torn", "mess')

    await sink.write([log_entry(1)])

    torn, whole = (tmp_path / "all.jsonl").read_bytes().splitlines()
    assert torn == b'{"id": "torn", "mess'
    assert json.loads(whole)["id"] == "1"
