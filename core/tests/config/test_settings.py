"""Settings: layered, checked whole, and every fault told with its line and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from turnout.config import (
    SETTINGS,
    AlertKind,
    ApiSettings,
    Authentication,
    JournalMode,
    LogSettings,
    MetricSettings,
    OAuthClientSettings,
    QuietPeriod,
    Settings,
    find_project,
    load_settings,
)
from turnout.errors import SettingsError
from turnout.model.durability import Durability
from turnout.model.tenancy import TenantPolicy


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TURNOUT_ENV", raising=False)


def write(directory: Path, text: str) -> Path:
    (directory / "turnout.toml").write_text(text, encoding="utf-8")
    return directory


def refused(directory: Path, text: str, **options: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(write(directory, text), **options)
    return str(caught.value).replace(str(directory.resolve()), "")


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    settings = load_settings(tmp_path)

    assert settings == Settings(root=tmp_path.resolve())
    assert settings.name == tmp_path.name
    assert settings.storage_directory == tmp_path.resolve() / ".turnout"
    assert settings.runner.sandbox == "process"


def test_an_empty_file_changes_nothing_but_where_settings_came_from(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, ""))

    assert settings == Settings(root=tmp_path.resolve(), file=tmp_path.resolve() / "turnout.toml")


def test_every_setting_can_be_set(tmp_path: Path) -> None:
    text = """
[project]
name = "shop"
url = "https://hooks.example/"
[storage]
directory = "data"
durability = "full"
retention = {days = 7, size = "1.5 GB"}
unread = {rows = 1000, hours = 5}
[runner]
concurrency = 4
sandbox = "chroot"
allow_unsafe_sandbox = true
journal = "strict"
drain = "90s"
health = "[::]:9400"
[limits]
memory = "128 MiB"
result = "1MB"
files = 50
files_size = "3 GB"
log = "10 KB"
request = "100 B"
[services.ingress]
target = "cloud"
memory = "1 GB"
processes = 3
[services.billing.options]
rate = 2
[oauth]
return_urls = ["https://app.example/settings/"]
[oauth.clients.crm]
client_id = "shop"
client_secret = "env:CRM_SECRET"
[plugins]
blocked = ["acme"]
[stores]
queue = "redis"
journal = "redis"
records = "postgres"
state = "redis"
catalog = "postgres"
payloads = "s3"
keys = "kms"
[connectors.pets]
source = "openapi"
[backends.redis]
url = "env:REDIS_URL"
[targets.lambda]
region = "eu-central-1"
[queue]
lease = "10s"
attempts = 3
weight = 2
in_flight = 20
capacity = 10000
[logs.archive]
kind = "file"
level = "warning"
sources = ["log", "steps"]
customers = ["acme"]
options = {path = "logs/{customer}.jsonl"}
[queue.tenants."acme corp"]
weight = 8
[api]
authentication = "keys"
hosts = ["api.internal"]
[alerts.channels.ops]
kind = "smtp"
host = "mail.example"
[alerts.rules.orders]
kind = "failed"
at_least = 3
of = 5
channels = ["ops"]
quiet = {from = "22:00", to = "06:30", timezone = "Europe/Berlin", days = ["sat"]}
[metrics]
kind = "cloudwatch"
options = {region = "eu-central-1"}
[telemetry]
otlp = "https://collector.example:4318"
headers = {authorization = "env:OTLP_TOKEN"}
service_name = "shop"
sample = 0.1
"""
    settings = load_settings(write(tmp_path, text))

    assert settings.name == "shop"
    assert settings.storage_directory == settings.root / "data"
    assert settings.storage.durability is Durability.HOST
    assert (settings.storage.retention.days, settings.storage.retention.size_bytes) == (7, 1_500_000_000)
    assert settings.logs == {
        "archive": LogSettings(
            kind="file",
            level="warning",
            sources=("log", "steps"),
            customers=("acme",),
            options={"path": "logs/{customer}.jsonl"},
        )
    }
    assert (settings.storage.unread.rows, settings.storage.unread.kept_s) == (1000, 18_000.0)
    assert (settings.runner.concurrency, settings.runner.sandbox) == (4, "chroot")
    assert settings.runner.allow_unsafe_sandbox is True
    assert settings.runner.journal is JournalMode.STRICT
    assert (settings.runner.drain_s, settings.runner.health) == (90.0, "[::]:9400")
    assert settings.project.url == "https://hooks.example"
    assert (settings.limits.memory_bytes, settings.limits.result_bytes) == (128 * 2**20, 10**6)
    assert (settings.limits.files, settings.limits.files_bytes) == (50, 3 * 10**9)
    assert (settings.limits.log_bytes, settings.limits.request_bytes) == (10_000, 100)
    ingress = settings.service("ingress")
    assert (ingress.target, ingress.memory_bytes, ingress.processes) == ("cloud", 10**9, 3)
    assert settings.service("billing").options == {"rate": 2}
    assert settings.service("runner").target == "local"
    assert settings.oauth.return_urls == ("https://app.example/settings",)
    assert settings.oauth.clients == {"crm": OAuthClientSettings(client_id="shop", client_secret="env:CRM_SECRET")}
    assert settings.api == ApiSettings(authentication=Authentication.KEYS, hosts=("api.internal",))
    assert settings.plugins.blocked == ("acme",)
    stores = settings.stores
    assert (stores.queue, stores.journal, stores.records) == ("redis", "redis", "postgres")
    assert (stores.state, stores.catalog, stores.payloads, stores.keys) == ("redis", "postgres", "s3", "kms")
    assert settings.connectors == {"pets": {"source": "openapi"}}
    assert settings.backends == {"redis": {"url": "env:REDIS_URL"}}
    assert settings.targets == {"lambda": {"region": "eu-central-1"}}
    assert (settings.queue.lease_s, settings.queue.attempts) == (10.0, 3)
    assert settings.queue.policies.of("anyone") == TenantPolicy(weight=2, in_flight=20, capacity=10_000)
    assert settings.queue.policies.of("acme corp") == TenantPolicy(weight=8, in_flight=20, capacity=10_000)
    telemetry = settings.telemetry
    assert (telemetry.otlp, telemetry.service_name) == ("https://collector.example:4318", "shop")
    assert (telemetry.headers, telemetry.sample) == ({"authorization": "env:OTLP_TOKEN"}, 0.1)
    assert settings.alerts.channels == {"ops": {"kind": "smtp", "host": "mail.example"}}
    rule = settings.alerts.rules["orders"]
    assert (rule.kind, rule.at_least, rule.of, rule.channels) == (AlertKind.FAILED, 3, 5, ("ops",))
    assert rule.quiet == QuietPeriod(start=22 * 60, end=6 * 60 + 30, timezone="Europe/Berlin", days=(5,))
    assert settings.metrics == MetricSettings(kind="cloudwatch", options={"region": "eu-central-1"})
    unchanged = {setting.name for setting in SETTINGS if str(_get(settings, setting.name)) == str(setting.default)}
    assert unchanged == set(), "a setting of the schema is not set in this test"


def _get(settings: Settings, name: str) -> object:
    *sections, _ = name.split(".")
    field = next(setting.field for setting in SETTINGS if setting.name == name)
    value: object = settings
    for section in sections:
        value = getattr(value, section)
    return getattr(value, field)


def test_retention_can_be_unlimited(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, '[storage.retention]\ndays = "unlimited"\nsize = "unlimited"'))

    assert (settings.storage.retention.days, settings.storage.retention.size_bytes) == (None, None)


ENVIRONMENTS = """
[runner]
concurrency = 4
sandbox = "process"
[environments.production.runner]
concurrency = 64
[environments.production]
storage.retention.days = 90
[environments.staging]
"""


def test_an_environment_is_layered_over_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, ENVIRONMENTS)

    assert load_settings(tmp_path).runner.concurrency == 4
    production = load_settings(tmp_path, environment="production")
    assert (production.runner.concurrency, production.runner.sandbox) == (64, "process")
    assert production.storage.retention.days == 90
    monkeypatch.setenv("TURNOUT_ENV", "production")
    assert load_settings(tmp_path) == production
    assert load_settings(tmp_path, environment="staging").runner.concurrency == 4


def test_an_unknown_environment_is_answered_with_the_nearest_right_name(tmp_path: Path) -> None:
    assert "no environment 'prodction': did you mean 'production'?" in refused(
        tmp_path, ENVIRONMENTS, environment="prodction"
    )
    assert "there are production, staging" in refused(tmp_path, ENVIRONMENTS, environment="x")
    with pytest.raises(SettingsError, match="could define it"):
        load_settings(tmp_path / "elsewhere", environment="production")


@pytest.mark.parametrize(
    "text",
    [
        'otlp = "https://user:pa55word@collector:4318"',
        'otlp = "https://collector:4318/?key=pa55word"',
        'otlp = "https://user:pa55word/x@collector:4318"',
        'headers = {authorization = "Bearer pa55word"}',
    ],
)
def test_a_secret_written_where_a_reference_belongs_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(write(tmp_path, f"[telemetry]\n{text}\n"))

    assert "pa55word" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[runer]", "/turnout.toml:1: runer: unknown table 'runer': did you mean 'runner'?"),
        (
            "[runner]\n\nconcurency = 3",
            "/turnout.toml:3: runner.concurency: unknown setting 'concurency': did you mean 'concurrency'?",
        ),
        ("runner.zzz = 3", "unknown setting 'zzz': there are concurrency, sandbox, journal"),
        ("runner = 3", "/turnout.toml:1: runner: a table is expected, [runner]"),
        ('[runner]\ndrain = "2m"', ":2: runner.drain: a duration of at most 110 seconds is expected"),
        ('[runner]\nhealth = "9400"', ":2: runner.health: HOST:PORT is expected"),
        ('[project]\nurl = "hooks.example"', ":2: project.url: a base URL is expected"),
        ("[runner]\nconcurrency = 0", ":2: runner.concurrency: a whole number from 1 to 10000 is expected, not 0"),
        ("[runner]\nconcurrency = true", "expected, not True"),
        ('[runner]\njournal = "sometimes"', "one of 'default', 'strict' is expected, not 'sometimes'"),
        ("[runner]\nsandbox = ''", "text is expected, not ''"),
        ('[storage]\ndurability = "host"', "one of 'process', 'full' is expected"),
        ("[storage]\nretention = {dayz = 3}", ":2: storage.retention.dayz: unknown setting 'dayz'"),
        ("[storage.retention]\ndays = -1", 'from 1 to 36500 is expected, or "unlimited", not -1'),
        ('[limits]\nmemory = "lots"', 'a size of at least one byte is expected, "500 MB"'),
        ("[limits]\nfiles = 0", "a whole number from 1 to 100000 is expected"),
        ("[limits]\nmemory = 5000000", "a size of at least one byte is expected"),
        ('[limits]\nmemory = "0 MB"', "a size of at least one byte is expected"),
        ('[plugins]\nblocked = "here"', "a list of texts is expected"),
        ("[telemetry]\nsample = 1.5", ":2: telemetry.sample: a number from 0 to 1 is expected, not 1.5"),
        (
            '[telemetry]\notlp = "collector:4318"',
            ":2: telemetry.otlp: the base URL of an OTLP/HTTP collector is expected",
        ),
        ('[telemetry]\notlp = "http://[::1"', ":2: telemetry.otlp: "),
        ('[telemetry]\notlp = "http://c:99999"', ":2: telemetry.otlp: "),
        ("[telemetry]\nheaders = 3", ":2: telemetry.headers: a table of header names is expected"),
        ('[telemetry]\nheaders = {"a b" = "env:X"}', ":2: telemetry.headers: a table of header names is expected"),
        ("environments = 3", ":1: environments: tables are expected"),
        ("[environments]\nproduction = 3", ":2: environments.production: a table is expected"),
        (
            "[environments.production.runner]\nconcurrency = 'x'",
            ":2: environments.production.runner.concurrency: a whole number",
        ),
        ("[runner\n", "/turnout.toml:1:8: not TOML: "),
    ],
)
def test_a_fault_is_told_with_its_line_and_what_is_expected(tmp_path: Path, text: str, said: str) -> None:
    assert said in refused(tmp_path, text)


def test_all_faults_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    lines = refused(tmp_path, "[runner]\nconcurrency = 0\njournal = 1\n[limit]\n").splitlines()

    assert [line.split(":")[1] for line in lines] == ["2", "3", "4"]


def test_files_that_are_not_settings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "turnout.toml").write_bytes(b"[project]\nname = '\xff'")
    with pytest.raises(SettingsError, match=r"not UTF-8 text \(byte 18\)"):
        load_settings(tmp_path)

    assert "larger than 1048576 bytes" in refused(tmp_path, "#" * 1_100_000)
    assert "turnout.toml: nested too deeply" in refused(tmp_path, "x = " + "[" * 100_000)


def test_a_directory_of_that_name_is_told(tmp_path: Path) -> None:
    (tmp_path / "turnout.toml").mkdir()

    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        load_settings(tmp_path)


def test_a_project_is_found_from_inside_it(tmp_path: Path) -> None:
    root = write(tmp_path, "").resolve()
    inner = root / "integrations" / "orders"
    inner.mkdir(parents=True)
    (inner / "integration.yaml").touch()

    assert find_project(inner / "integration.yaml") == root
    assert find_project(inner) == root


def test_without_a_settings_file_the_directory_itself_is_the_project(tmp_path: Path) -> None:
    assert find_project(tmp_path) == tmp_path.resolve()


def test_a_wrong_table_of_a_name_of_the_project_is_told_with_its_line(tmp_path: Path) -> None:
    text = "[backends]\nredis = 5\n[queue.tenants.acme]\nwieght = 2\n[queue.tenants.other]\nweight = 0\n"

    with pytest.raises(SettingsError) as caught:
        load_settings(write(tmp_path, text))

    first, second, third = str(caught.value).splitlines()
    assert first.endswith("turnout.toml:2: backends.redis: a table is expected, [backends.redis]")
    assert second.endswith(":4: queue.tenants.acme.wieght: unknown setting 'wieght': did you mean 'weight'?")
    assert ":6: queue.tenants.other.weight: a whole number from 1 to 1000 is expected" in third
