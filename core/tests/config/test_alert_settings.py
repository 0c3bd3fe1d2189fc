"""Settings of alerts that are wrong: each is named with file and line, says what is expected, and is found when they are read."""

from __future__ import annotations

from pathlib import Path

import pytest
from turnout.config import load_settings
from turnout.errors import SettingsError

CHANNEL = '[alerts.channels.ops]\nkind = "smtp"\n'
RULE = '[alerts.rules.orders]\nchannels = ["ops"]\n'


def refused(folder: Path, text: str) -> str:
    (folder / "turnout.toml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(folder)
    return str(caught.value)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (
            'kind = "fails"',
            "alerts.rules.orders.kind: one of 'failed', 'duration', 'overdue', 'log', 'dead_letter', 'connection' is expected",
        ),
        (
            'severity = "bad"',
            "alerts.rules.orders.severity: one of 'info', 'warning', 'error', 'critical' is expected, not 'bad'",
        ),
        ("at_least = 0", "alerts.rules.orders.at_least: "),
        ("at_least = 3\nof = 2", "alerts.rules.orders.at_least: 3 of the last 2 cannot fail: set `of` to 3 or more"),
        ("of = 101", "alerts.rules.orders.of: "),
        ('kind = "duration"', 'alerts.rules.orders.longer_than: it must be set, "10m"'),
        (
            'kind = "duration"\nlonger_than = "soon"',
            "alerts.rules.orders.longer_than: a duration from a second to a year is expected, not 'soon'",
        ),
        ('longer_than = "10m"', "alerts.rules.orders.longer_than: it is for rules of kind 'duration', and this is"),
        (
            'kind = "overdue"\nexpect = "1s"',
            "alerts.rules.orders.expect: a duration from a minute to a year is expected, not '1s'",
        ),
        (
            'kind = "log"\nlevel = "loud"',
            "alerts.rules.orders.level: one of 'info', 'warning', 'error' is expected, not 'loud'",
        ),
        ('kind = "log"\nresolve = "recovery"', "alerts.rules.orders.resolve: 'time' or 'manual' is expected"),
        ('throttle = "2y"', "alerts.rules.orders.throttle: a duration up to a year is expected, not '2y'"),
        (
            'resolve = "soon"',
            "alerts.rules.orders.resolve: one of 'recovery', 'time', 'manual' is expected, not 'soon'",
        ),
        ("customers = []", "alerts.rules.orders.customers: at least one is expected"),
        ('quiet = "nights"', "alerts.rules.orders.quiet: a table is expected, {"),
        ('quiet = {from = "25:00"}', "from: a time of day is expected"),
        ('quiet = {till = "07:00"}', "unknown setting 'till': there are from, to, timezone, days"),
        ('quiet = {timezone = "Berlin"}', "timezone: a time zone is expected"),
        ('quiet = {days = ["monday"]}', "days: a list of days is expected"),
        ('quiet = {from = "00:00", to = "00:00"}', "a quiet period that ends is expected"),
        ('subject = "{{ custmer }}"', "a message has no 'custmer'; there are at, channel, "),
        ('text = "{{ error"', "a template of Jinja is expected"),
        ("text = \"{{ 'x' * 3000000000 }}\"", "a template has no `*`"),
        ('text = "{% for a in error %}x{% endfor %}"', "a template has no loops"),
        ('chanels = ["ops"]', "alerts.rules.orders.chanels"),
    ],
)
def test_a_rule_that_is_wrong_is_named(tmp_path: Path, written: str, told: str) -> None:
    said = refused(tmp_path, f"{CHANNEL}{RULE}{written}\n")

    assert told in said
    assert any(f"turnout.toml:{line}: " in said for line in ((3,) if "must be set" in told else (5, 6)))


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("channels = []", "at least one is expected"),
        (
            'channels = ["opps"]',
            "alerts.rules.orders.channels: there is no channel 'opps' in [alerts.channels]: there are ops",
        ),
        ("", "alerts.rules.orders.channels: it must be set: a rule that tells nobody is none"),
        ('channels = "ops"', "alerts.rules.orders.channels"),
    ],
)
def test_a_rule_that_tells_nobody_is_named(tmp_path: Path, written: str, told: str) -> None:
    said = refused(tmp_path, f"{CHANNEL}[alerts.rules.orders]\n{written}\n")

    assert told in said
    assert "turnout.toml:" in said


@pytest.mark.parametrize(
    ("channel", "told"),
    [
        ("[alerts.channels.ops]\n", 'alerts.channels.ops.kind: text is expected, "smtp"'),
        ("[alerts.channels.ops]\nkind = 3\n", "alerts.channels.ops.kind"),
    ],
)
def test_a_channel_that_is_wrong_is_named(tmp_path: Path, channel: str, told: str) -> None:
    said = refused(tmp_path, channel + RULE)

    assert told in said
    assert "turnout.toml:" in said


def test_a_rule_that_is_right_is_read(tmp_path: Path) -> None:
    """A control: what the others add to is not wrong by itself."""
    (tmp_path / "turnout.toml").write_text(f'{CHANNEL}{RULE}subject = "{{{{ why }}}} {{{{ count }}}}"\n')

    assert load_settings(tmp_path).alerts.rules["orders"].channels == ("ops",)
