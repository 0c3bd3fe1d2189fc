"""Secrets are planted wherever a secret can be, and a careless API tells them in all encodings. Then everything that Turnout has kept,
printed, answered and sent is searched for them: every file of the storage directory, commands, the HTTP API, traces, shipped logs. The same
search finds what is no secret in each of these places, so that it would have found a secret."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest
from turnout.config import load_settings
from turnout.definition.files import load_integration
from turnout.interfaces.connector import ConnectionType
from turnout.interfaces.secrets import Secret
from turnout.local.platform import Platform
from turnout.plugins import load_plugins
from turnout.services.connections import NewConnection
from turnout.services.rotation import Rotation
from turnout.values import Value

from tests.dev.commands import Dev, run, until
from tests.secrets.site import found_forms, telling
from tests.traces.collector import Collector, collecting

MARKER: Final = 'no-secret/"märker"+77'
SECRETS: Final = {
    "typed in": 'typed-in/"pässword"+11',
    "kept in the file of secrets": 'kept/"in the file"+22',
    "of the environment": "of/the environment+33",
    "of a connection in the vault": 'vault/"of acme"+44',
    "an OAuth token": "oauth/token+0+55==",
    "the OAuth token after it": "oauth/token+1+55==",
    "a header for traces": "trace-header/secret+66",
}

INTEGRATION: Final = """
integration: leaky
version: 1.0.0
connections:
  one: {connector: http}
  two: {connector: http}
  three: {connector: http}
flows:
  main:
    trigger: {webhook: {}}
    steps:
      - {id: first, action: http.request, connection: one, with: {url: /echo, method: POST, json: {a: 1}}}
      - {id: second, action: http.request, connection: two, with: {url: /echo}}
      - {id: third, action: http.request, connection: three, with: {url: /echo}}
      - id: tell
        code: |
          export default (input) => {
            console.log(JSON.stringify(input))
            console.error(Buffer.from(JSON.stringify(input)).toString("base64"))
            console.log(encodeURIComponent(JSON.stringify(input)))
            return input
          }
        with: {told: "${{ [steps.first, steps.second, steps.third] }}"}
      - {id: keep, action: state.set, with: {key: told, value: "${{ steps.tell }}"}}
      - {id: done, stop: {output: "${{ steps.tell }}"}}
  refused:
    trigger: {webhook: {}}
    steps:
      - {id: no, action: http.request, connection: one, with: {url: /fail}}
  thrown:
    trigger: {webhook: {}}
    steps:
      - {id: first, action: http.request, connection: two, with: {url: /echo}}
      - id: throw
        code: |
          export default (input) => { throw new Error(JSON.stringify(input)) }
        with: {told: "${{ steps.first }}"}
  poison:
    trigger: {webhook: {}}
    steps:
      - {id: first, action: http.request, connection: one, with: {url: /echo}}
      - id: hang
        code: |
          export default (input) => { console.log(JSON.stringify(input)); return new Promise((end) => setTimeout(end, 60_000)) }
        with: {told: "${{ steps.first }}"}
"""


class Tokens:
    """A source of tokens as OAuth 2.0 gives them: another one each time it is asked."""

    def __init__(self) -> None:
        self.given = 0

    def renews(self, kind: type[ConnectionType]) -> bool:
        return "token" in kind.model_fields

    async def fresh(self, tenant: str, name: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        token = f"oauth/token+{min(self.given, 1)}+55=="
        self.given += 1
        return {**fields, "token": Secret(token)}

    async def forget(
        self, tenant: str, name: str, connector: str, kind: type[ConnectionType], fields: Mapping[str, Any]
    ) -> None:
        """Nothing is kept."""


@dataclass
class Places:
    """Everything there is to look through, by a name that a person finds it by."""

    texts: dict[str, bytes]

    def add(self, name: str, data: bytes | str) -> None:
        self.texts[name] = data if isinstance(data, bytes) else data.encode()

    def found(self, text: str) -> dict[str, set[str]]:
        return {name: ways for name, data in self.texts.items() if (ways := found_forms(text, data))}


def settings(site: str, collector: str) -> str:
    return f"""
[queue]
attempts = 1
[runner]
allow_unsafe_sandbox = true
[telemetry]
otlp = "{collector}"
headers = {{ authorization = "secret:trace-header" }}
[logs.everything]
kind = "file"
level = "debug"
sources = ["log", "steps", "executions", "platform"]
"""


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TURNOUT_SECRET_KEY", raising=False)
    monkeypatch.setenv("LEAKY_PASSWORD", SECRETS["of the environment"])


@pytest.mark.timeout(300)  # two servers and forty commands, each a process of its own
def test_secrets_are_found_nowhere_and_what_is_none_is_found_everywhere(tmp_path: Path, environment: None) -> None:
    with telling(MARKER) as site, collecting() as collector:
        (tmp_path / "turnout.toml").write_text(settings(site, collector.url))
        (tmp_path / "integration.yaml").write_text(INTEGRATION)
        places = Places({})
        ids = asyncio.run(of_customers(tmp_path, site))
        served(tmp_path, site, places)
        commands(tmp_path, ids, places)
        sent(collector, places)
    for path in sorted((tmp_path / ".turnout").rglob("*")):
        if path.is_file():
            places.add(f"file {path.relative_to(tmp_path)}", path.read_bytes())

    leaks = {name: found for name, secret in SECRETS.items() if (found := places.found(secret))}
    assert leaks == {}
    seen = places.found(MARKER)
    expected = {"json", "json in json", "url", "base64", "hex"}
    assert set().union(*seen.values()) >= expected
    for kind in (
        "file .turnout/turnout.db",
        "file .turnout/logs/",
        "command executions show",
        "command executions logs",
        "http /api/v1/executions",
        "trace",
    ):
        assert [name for name in seen if name.startswith(kind)], f"the search does not look through {kind}"


async def of_customers(root: Path, site: str) -> list[str]:
    """A customer's connections are in the vault; keys are rotated between two runs. Ids of the executions."""
    from turnout.local.stores import Stores

    loaded = load_settings(root)
    registry = load_plugins()
    stores = await Stores.open(replace(loaded, telemetry=replace(loaded.telemetry, otlp="")), registry)
    await stores.secrets.set("trace-header", Secret(SECRETS["a header for traces"]))
    await stores.secrets.set("kept", Secret(SECRETS["kept in the file of secrets"]))
    await stores.close()
    platform = await Platform.open(loaded, registry)
    platform.connections.tokens = Tokens()
    for name, fields in {
        "erp": {"username": "u", "password": SECRETS["of a connection in the vault"]},
        "bank": {"username": "u", "password": "env:LEAKY_PASSWORD"},
    }.items():
        new = NewConnection(connector="http", type="basic", fields={"base_url": site, **fields})
        await platform.connections.create("acme", name, new)
    bearer = NewConnection(connector="http", type="bearer", fields={"base_url": site, "token": "not-yet"})
    await platform.connections.create("acme", "oauth", bearer)
    await platform.start_sandbox()
    instance = await platform.deploy(
        load_integration(root), config={}, connections={}, name="acme-leaky", tenant="acme"
    )
    named = {"one": "erp", "two": "bank", "three": "oauth"}
    instance = replace(instance, settings=await platform.instance_settings.save("acme", {}, named))
    ids = [await platform.run(instance, "main", Value({"body": None}))]
    renewed = await Rotation(platform.stores.catalog, platform.stores.vault).renew(lambda tenant, done: None)
    ids += [await platform.run(instance, flow, Value({"body": None})) for flow in ("main", "refused", "thrown")]
    await platform.metadata.catch_up()
    statuses = [record.status for id in ids if (record := await platform.stores.records.get(id))]
    await platform.close()
    assert [str(status) for status in statuses] == ["succeeded", "succeeded", "failed", "failed"]
    assert renewed.values >= 3
    assert renewed.unreadable == ()
    return ids


def served(root: Path, site: str, places: Places) -> None:
    """The project's own instance: secrets typed in, in the file, in the environment; what HTTP answers; a worker that is killed."""
    (root / "connections.yaml").write_text(
        json.dumps(
            {
                "one": {"base_url": site, "username": "u", "password": SECRETS["typed in"]},
                "two": {"base_url": site, "token": "secret:kept"},
                "three": {"base_url": site, "username": "u", "password": "env:LEAKY_PASSWORD"},
            }
        )
    )
    arguments = ("--connections", "connections.yaml")
    with Dev(root, arguments) as dev:
        ids = [
            dev.client.post(f"/hooks/leaky/{flow}").json()["execution"]
            for flow in ("main", "refused", "thrown", "poison")
        ]
        until(lambda: all(status(dev, id) in ("succeeded", "failed") for id in ids[:3]))
        until(lambda: "step" in dev.client.get(f"/api/v1/executions/{ids[3]}").text)
        dev.process.send_signal(signal.SIGKILL)
        dev.process.wait()
    with Dev(root, arguments) as dev:
        until(lambda: status(dev, ids[3]) == "failed")
        for path in everything(dev.client.get("/api/v1/openapi.json").json()["paths"], ids):
            places.add(f"http {path}", dev.client.get(path).content)
    places.add("what turnout dev printed", (root / "dev.log").read_bytes())


def status(dev: Dev, id: str) -> str:
    return str(dev.client.get(f"/api/v1/executions/{id}").json().get("status"))


def everything(described: Mapping[str, Any], ids: list[str]) -> list[str]:
    """Every path of the API that can be read, for each execution and for the customer."""
    paths = []
    for path, methods in described.items():
        if "get" in methods:
            named = path.replace("{customer}", "acme").replace("{name}", "erp")
            paths += [named.replace("{id}", id) for id in ids] if "{id}" in named else [named]
    assert f"/api/v1/dead-letters/{ids[3]}" in paths
    return paths


def commands(root: Path, ids: list[str], places: Places) -> None:
    listed = json.loads(run("executions", "list", "--json", cwd=root).stdout)
    ids = [*ids, *(one["id"] for one in listed if one["id"] not in ids)]
    dead = json.loads(run("queue", "dead", "list", "--json", cwd=root).stdout)
    assert len(dead) == 1
    asked = [
        ("executions", "list"),
        ("executions", "list", "--json"),
        ("queue", "dead", "list"),
        ("queue", "dead", "list", "--json"),
        *(("queue", "dead", "show", letter["execution"], *form) for letter in dead for form in ((), ("--json",))),
        ("config", "show"),
        ("config", "show", "--json"),
        ("secrets", "list"),
        ("services",),
        *(("executions", *what, id) for id in ids for what in (("show", "--json"), ("logs",))),
        *(("executions", "show", id) for id in ids[:4]),
    ]
    for arguments in asked:
        done = run(*arguments, cwd=root)
        places.add(f"command {' '.join(arguments)}", done.stdout + done.stderr)
        assert done.returncode == 0, (arguments, done.stderr)


def sent(collector: Collector, places: Places) -> None:
    assert collector.requests
    for number, (path, _, body) in enumerate(collector.requests):
        places.add(f"trace {number} {path}", body)
    assert {headers.get("authorization") for _, headers, _ in collector.requests} == {SECRETS["a header for traces"]}
