"""`dropbox.changed`: what is new since the last look."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from turnout.config import Settings
from turnout.connectors import ActionContext, Poll
from turnout.definition import validate
from turnout.definition.loader import load_yaml_text
from turnout.interfaces.records import ExecutionQuery
from turnout.interfaces.service import Invocation
from turnout.local.platform import Platform
from turnout.plugins import load_plugins
from turnout.testing.clock import ManualClock
from turnout.values import Value
from turnout_connectors.standins.dropbox import DropboxStandIn
from turnout_connectors.standins.serving import serving

CALL = Invocation()
TEXT = """
integration: inbox
version: 1.0.0
connections: {{files: {{connector: dropbox, type: token}}}}
flows:
  take:
    trigger: {{dropbox.changed: {{connection: files, every: 60s, with: {with_}}}}}
    steps:
      - {{id: file, action: dropbox.download, connection: files, with: {{path: "${{{{ trigger.path_lower }}}}"}}}}
      - {{id: done, stop: {{output: "${{{{ trigger.name }}}}"}}}}
"""


@pytest.fixture
def standin() -> DropboxStandIn:
    return DropboxStandIn(token="secret-token", page_size=3)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_800_000_000.0)


@pytest.fixture
async def platform(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Platform]:
    platform = await Platform.open(Settings(root=tmp_path), load_plugins(), clock=clock)
    yield platform
    await platform.close()


async def watch(platform: Platform, url: str, with_: str = "{path: /in}", *, version: str = "1.0.0") -> None:
    integration = load_yaml_text(TEXT.format(with_=with_).replace("version: 1.0.0", f"version: {version}"))
    assert validate(integration, platform.backends.connectors) == []
    await platform.deploy(
        integration, config={}, connections={"files": {"access_token": "secret-token", "base_url": url}}
    )
    await platform.scheduler.sync(CALL)


async def look(platform: Platform, clock: ManualClock, seconds: float = 60.0) -> None:
    clock.advance(seconds)
    await platform.scheduler.look(CALL)


async def found(platform: Platform) -> list[Any]:
    await platform.metadata.catch_up()
    records = await platform.stores.records.search(ExecutionQuery(limit=100))
    triggers = [Value.from_encoded(record.info.trigger).load() for record in reversed(records)]
    return sorted(trigger["name"] for trigger in triggers if isinstance(trigger, dict))


async def test_files_that_come_and_change_start_the_flow_and_old_ones_do_not(
    platform: Platform, clock: ManualClock, standin: DropboxStandIn
) -> None:
    standin.put("/in/old.xml", b"<old/>")
    async with serving(standin.app) as url:
        await watch(platform, url)
        await look(platform, clock)
        for number in range(5):
            standin.put(f"/in/{number}.xml", b"<new/>")
        standin.put("/elsewhere/no.xml", b"<no/>")
        await look(platform, clock)
        standin.put("/in/old.xml", b"<changed/>")
        await look(platform, clock)
        await look(platform, clock)

        assert await found(platform) == ["0.xml", "1.xml", "2.xml", "3.xml", "4.xml", "old.xml"]


async def test_what_is_there_already_is_found_where_that_is_asked_for(
    platform: Platform, clock: ManualClock, standin: DropboxStandIn
) -> None:
    for number in range(4):
        standin.put(f"/in/{number}.xml", b"<there/>")
    async with serving(standin.app) as url:
        await watch(platform, url, "{path: /in, start: beginning}")
        await look(platform, clock)

        assert await found(platform) == ["0.xml", "1.xml", "2.xml", "3.xml"]


async def test_another_version_goes_on_where_the_one_before_was(
    platform: Platform, clock: ManualClock, standin: DropboxStandIn
) -> None:
    async with serving(standin.app) as url:
        await watch(platform, url)
        await look(platform, clock)
        standin.put("/in/a.xml", b"<a/>")

        await watch(platform, url, version="1.1.0")
        await look(platform, clock)

        assert await found(platform) == ["a.xml"]


async def test_a_look_that_dropbox_refuses_says_so_without_the_token(
    platform: Platform, clock: ManualClock, standin: DropboxStandIn, caplog: pytest.LogCaptureFixture
) -> None:
    standin.token = "another"
    async with serving(standin.app) as url:
        await watch(platform, url)
        await look(platform, clock)

    [planned] = await platform.scheduler.plans.page()
    assert planned.value.failures == 1
    assert planned.value.trouble
    assert "secret-token" not in planned.value.trouble + caplog.text


@pytest.mark.parametrize("failure", [KeyError("entries of secret-token"), Poll(cursor=object())])
async def test_a_connectors_bug_is_told_with_the_schedule_and_without_the_token(
    platform: Platform,
    clock: ManualClock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    failure: Any,
) -> None:
    async def broken(context: ActionContext, inputs: Any, cursor: Any) -> Poll:
        if isinstance(failure, Exception):
            raise failure
        return cast("Poll", failure)

    polls = platform.backends.connectors["dropbox"].polls
    monkeypatch.setitem(polls, "changed", replace(polls["changed"], poll=broken))
    await watch(platform, "https://files.example")

    await look(platform, clock)

    [planned] = await platform.scheduler.plans.page()
    assert planned.value.failures == 1
    assert planned.value.trouble
    assert "secret-token" not in planned.value.trouble + caplog.text


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{dropbox.changed: {connection: files}}", "dropbox.changed is polled: say how often"),
        ("{dropbox.changed: {connection: files, every: 0.1}}", "`every` must be a second or longer"),
        ("{dropbox.change: {connection: files, every: 5m}}", "dropbox has no trigger 'change'"),
    ],
)
def test_a_polling_trigger_that_does_not_hold_is_explained(written: str, said: str) -> None:
    text = TEXT.format(with_="{}").replace("{dropbox.changed: {connection: files, every: 60s, with: {}}}", written)

    problems = validate(load_yaml_text(text), load_plugins().connectors)

    assert said in "; ".join(problem.message for problem in problems)
