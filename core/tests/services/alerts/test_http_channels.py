"""Channels over HTTP, each against a server that refuses what the provider would."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from turnout.errors import BackendError, Overloaded, SettingsError
from turnout.interfaces.notifier import Notifier
from turnout.interfaces.opening import Opening
from turnout.interfaces.secrets import Secret
from turnout.services.alerts.pagerduty import PagerDutyNotifier
from turnout.services.alerts.slack import SlackNotifier
from turnout.services.alerts.webhook import WebhookNotifier
from turnout.testing.notifier import Answering, NotifierContract, notification

from core.tests.services.alerts.http_sides import HookSide, HttpSide, PagerDutySide, SlackSide


async def connected(kind: type[Notifier], folder: Path, known: dict[str, str], **options: Any) -> Any:
    async def secret(written: str) -> Secret:
        return Secret(known.get(written, written))

    return await kind.connect(
        Opening(directory=folder, name="channel", table="alerts.channels", options=options, secret=secret)
    )


class TestSlack(NotifierContract):
    @pytest.fixture
    def other(self) -> Iterator[HttpSide]:
        with SlackSide() as side:
            yield side

    @pytest.fixture
    async def notifier(self, tmp_path: Path, other: SlackSide) -> AsyncIterator[Any]:
        known = {"env:SLACK": other.url + SlackSide.path}
        made = await connected(SlackNotifier, tmp_path, known, url="env:SLACK")
        yield made
        await made.close()


class TestPagerDuty(NotifierContract):
    @pytest.fixture
    def other(self) -> Iterator[HttpSide]:
        with PagerDutySide() as side:
            yield side

    @pytest.fixture
    async def notifier(self, tmp_path: Path, other: PagerDutySide) -> AsyncIterator[Any]:
        known = {"env:PAGERDUTY": other.secrets[0]}
        made = await connected(PagerDutyNotifier, tmp_path, known, routing_key="env:PAGERDUTY", url=other.url)
        yield made
        await made.close()


class TestWebhook(NotifierContract):
    @pytest.fixture
    def other(self) -> Iterator[HttpSide]:
        with HookSide() as side:
            yield side

    @pytest.fixture
    async def notifier(self, tmp_path: Path, other: HookSide) -> AsyncIterator[Any]:
        known = {"env:HOOK": other.secrets[0]}
        made = await connected(WebhookNotifier, tmp_path, known, url=other.url, secret="env:HOOK")
        yield made
        await made.close()


async def test_who_is_busy_says_when_to_come_back(tmp_path: Path) -> None:
    with HookSide() as other:
        hook = await connected(
            WebhookNotifier, tmp_path, {"env:HOOK": other.secrets[0]}, url=other.url, secret="env:HOOK"
        )
        await other.answer(Answering.BUSY)

        with pytest.raises(Overloaded) as caught:
            await hook.send(notification())
        await hook.close()

    assert caught.value.retry_after_s == 30.0


async def test_a_signature_with_another_key_does_not_hold(tmp_path: Path) -> None:
    """The control of the signature: the other side looks at it."""
    other_key = "whsec_" + "A" * 32
    with HookSide() as other:
        hook = await connected(WebhookNotifier, tmp_path, {"env:HOOK": other_key}, url=other.url, secret="env:HOOK")

        with pytest.raises(BackendError, match="does not hold"):
            await hook.send(notification())
        await hook.close()


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        (SlackNotifier, {"url": "https://hooks.slack.com/services/T0/B0/secret"}, "a reference is expected"),
        (PagerDutyNotifier, {"routing_key": "R0UTINGKEY"}, "a reference is expected"),
        (WebhookNotifier, {"url": "http://example.com/", "secret": "env:HOOK"}, "over https only"),
        (WebhookNotifier, {"url": "https://u:p@example.com/", "secret": "env:HOOK"}, "without a password"),
        (WebhookNotifier, {"url": "https://example.com/", "secret": "env:SHORT"}, "whsec_ and 24 to 64 bytes"),
    ],
)
async def test_what_is_set_up_wrongly_is_named(
    tmp_path: Path, kind: type[Notifier], options: dict[str, str], said: str
) -> None:
    known = {"env:HOOK": HookSide.secrets[0], "env:SHORT": "whsec_AAAA"}

    with pytest.raises(SettingsError, match=said) as caught:
        await connected(kind, tmp_path, known, **options)

    assert "secret" not in str(caught.value).replace("`secret`", "").replace("secret:NAME", "").replace(".secret", "")
    assert "R0UTINGKEY" not in str(caught.value)
