"""What settings come to and where that was said."""

from __future__ import annotations

from pathlib import Path

import pytest
from turnout.config import SETTINGS, EffectiveSetting, effective_settings
from turnout.errors import SettingsError

TEXT = """
[project]
name = "shop"

[storage]
retention = { days = 7 }

[stores]
queue = "redis"

[backends.redis]
url = "redis://user:hunter2@cache:6379"
password = "hunter2"
token = "env:REDIS_TOKEN"
timeout = 3

[telemetry]
headers = { authorization = "env:OTLP" }

[services.runner]
target = "local"

[environments.production]
stores.queue = "sqlite"

[environments.production.storage]
retention.days = 90
"""


def shown(directory: Path, environment: str | None = None) -> dict[str, EffectiveSetting]:
    (directory / "turnout.toml").write_text(TEXT)
    return {one.name: one for one in effective_settings(directory, environment=environment)}


def test_every_setting_is_there_with_its_default_where_nothing_is_written(tmp_path: Path) -> None:
    found = {one.name: one for one in effective_settings(tmp_path)}

    unnamed = [one.name for one in SETTINGS if one.default != {}]
    assert set(unnamed) <= found.keys()
    assert {one.origin for one in found.values()} == {"default"}
    assert (found["storage.retention.size"].value, found["runner.allow_unsafe_sandbox"].value) == ("1000 MB", "false")


def test_a_value_is_as_written_and_its_line_is_named(tmp_path: Path) -> None:
    found = shown(tmp_path)

    assert (found["stores.queue"].value, found["stores.queue"].origin) == ("redis", "turnout.toml:9")
    assert (found["storage.retention.days"].value, found["storage.retention.days"].origin) == ("7", "turnout.toml:6")
    assert (found["services.runner.target"].origin, found["services.runner.memory"].origin) == (
        "turnout.toml:21",
        "default",
    )


def test_an_environment_says_so_where_it_has_the_word(tmp_path: Path) -> None:
    found = shown(tmp_path, "production")

    assert (found["stores.queue"].value, found["stores.queue"].origin) == ("sqlite", "turnout.toml:24 (production)")
    assert (found["storage.retention.days"].value, found["storage.retention.days"].origin) == (
        "90",
        "turnout.toml:27 (production)",
    )
    assert found["project.name"].origin == "turnout.toml:3"


def test_what_may_be_a_secret_is_not_shown_and_its_reference_is(tmp_path: Path) -> None:
    found = shown(tmp_path)

    assert "hunter2" not in "".join(one.value for one in found.values())
    assert (found["backends.redis.url"].value, found["backends.redis.password"].value) == ("***", "***")
    assert (found["backends.redis.token"].value, found["backends.redis.timeout"].value) == ("env:REDIS_TOKEN", "3")
    assert found["telemetry.headers"].value == "authorization = env:OTLP"


def test_an_environment_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no environment 'staging'"):
        shown(tmp_path, "staging")
