"""What code may reach, and that no secret is handed to a sandbox: it gets placeholders, the broker the rest."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr
from turnout.connectors import ConnectionType, Connector
from turnout.engine.egress import Secrecy, exchange_line, hosts_of
from turnout.errors import SettingsError
from turnout.interfaces.sandbox import CodeBundle, Exchange, Job, Limits, Outcome, SandboxHandle, Success
from turnout.local.process_sandbox import ProcessSandbox
from turnout.model.definition import CodeSettings, Integration
from turnout.model.events import Logged
from turnout.model.execution import SandboxReceipt, Status
from turnout.model.payload import Encoded

from .laboratory import Laboratory

SECRET = "s3cret-t0ken-of-acme"


class Inner(BaseModel):
    key: SecretStr = SecretStr(f"{SECRET}-inner")
    plain: str = "seen"


class Token(ConnectionType):
    base_url: str | None = None
    token: SecretStr | None = None
    user: str = "ann"
    again: str = ""
    inner: Inner | None = None
    several: tuple[SecretStr, ...] = ()

    def secrets(self) -> tuple[str, ...]:
        return (*super().secrets(), SECRET)


class Fixed(ConnectionType):
    token: SecretStr

    def hosts(self) -> tuple[str, ...]:
        return ("API.fixed.example", "*.fixed.example:8443")


class Wide(Fixed):
    def hosts(self) -> tuple[str, ...]:
        return ("*",)


class Broken(Fixed):
    def hosts(self) -> tuple[str, ...]:
        raise RuntimeError(self.token.get_secret_value())


class Recording(SandboxHandle):
    """A broker that is told nothing and says what the test wants."""

    usable = True

    def __init__(self, sandbox: Brokering) -> None:
        self.sandbox = sandbox

    async def run(self, job: Job) -> Outcome:
        self.sandbox.jobs.append(job)
        for exchange in self.sandbox.exchanges:
            job.egress.observe(exchange)
        self.sandbox.after()
        return Success(output=Encoded(json=b"1"), cpu_ms=0, network=True)

    def receipt(self) -> SandboxReceipt:
        return SandboxReceipt(sandbox="brokering", jobs=1)

    async def release(self) -> None:
        """Nothing is held."""


class Brokering:
    brokers = True

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.exchanges: list[Exchange] = []
        self.after: Callable[[], None] = lambda: None

    async def acquire(self, tenant: str, bundle: CodeBundle, limits: Limits) -> SandboxHandle:
        return Recording(self)


@pytest.fixture
def brokering(lab: Laboratory) -> Brokering:
    connector = Connector("erp")
    kinds: dict[str, type[ConnectionType]] = {"token": Token, "fixed": Fixed, "wide": Wide, "broken": Broken}
    for name, kind in kinds.items():
        connector.connection(name, kind)
    lab.connectors["erp"] = connector
    sandbox: Any = Brokering()
    lab.backends = replace(lab.backends, sandbox=sandbox)
    made: Brokering = sandbox
    return made


def text(*steps: str, hosts: str = "[]", kind: str = "token") -> str:
    listed = "".join(f"      - {step}\n" for step in steps)
    return (
        f"integration: i\nversion: 1.0.0\nconfig: {{url: {{type: string, required: false}}}}\n"
        f"connections:\n  erp: {{connector: erp, type: {kind}}}\n  other: {{connector: erp, type: fixed}}\n"
        f"code: {{hosts: {hosts}}}\nflows:\n  main:\n    steps:\n{listed}"
    )


GO = "{id: go, code: export default () => 1, connections: [erp]}"
BARE = "{id: bare, code: export default () => 1}"


async def jobs_of(lab: Laboratory, sandbox: Brokering, definition: str, fields: Mapping[str, Any]) -> list[Job]:
    lab.connections = {"erp": fields, "other": {"token": "other-s3cret"}}
    outcome = await lab.run(definition)
    assert outcome.status is Status.SUCCEEDED, outcome.error
    return sandbox.jobs


def all_text(job: Job) -> str:
    """Everything that goes into a sandbox."""
    return json.dumps(job.context, default=str) + job.input.json.decode() + job.module


async def test_code_sees_placeholders_and_the_broker_gets_the_secrets(lab: Laboratory, brokering: Brokering) -> None:
    fields = {
        "base_url": "https://api.acme.example:8443/v1",
        "token": SECRET,
        "again": f"Bearer {SECRET}",
        "inner": {},
        "several": ["one-s3cret", ""],
    }

    [job] = await jobs_of(lab, brokering, text(GO, hosts="[cdn.example]"), fields)

    seen: Any = job.context["connections"]
    assert SECRET not in all_text(job)
    assert "one-s3cret" not in all_text(job)
    assert (seen["erp"]["base_url"], seen["erp"]["user"]) == ("https://api.acme.example:8443/v1", "ann")
    assert seen["erp"]["inner"]["plain"] == "seen"
    assert seen["erp"]["several"][1] == ""
    hidden = {credential.name: (credential.placeholder, credential.secret) for credential in job.egress.credentials}
    assert hidden == {
        "connection erp, field token": (seen["erp"]["token"], SECRET),
        "connection erp, field again": (seen["erp"]["again"], f"Bearer {SECRET}"),
        "connection erp, field inner.key": (seen["erp"]["inner"]["key"], f"{SECRET}-inner"),
        "connection erp, field several.0": (seen["erp"]["several"][0], "one-s3cret"),
    }
    assert len({credential.placeholder for credential in job.egress.credentials}) == 4
    assert all(credential.hosts == ("api.acme.example:8443",) for credential in job.egress.credentials)
    assert set(job.egress.hosts) == {"cdn.example", "api.acme.example:8443"}
    assert SECRET not in repr(job)


async def test_a_step_reaches_what_its_own_connections_allow_and_no_more(lab: Laboratory, brokering: Brokering) -> None:
    both = "{id: both, code: export default () => 1, connections: [erp, other]}"
    fields = {"base_url": "https://api.acme.example", "token": SECRET}

    bare, go, two = await jobs_of(lab, brokering, text(BARE, GO, both, hosts="['*.cdn.example']"), fields)

    assert bare.egress.hosts == ("*.cdn.example",)
    assert bare.egress.credentials == ()
    assert "connections" not in bare.context
    assert go.egress.hosts == ("*.cdn.example", "api.acme.example")
    assert two.egress.hosts == ("*.cdn.example", "api.acme.example", "api.fixed.example", "*.fixed.example:8443")
    assert [credential.hosts for credential in two.egress.credentials] == [
        ("api.acme.example",),
        ("api.fixed.example", "*.fixed.example:8443"),
    ]


async def test_placeholders_stay_the_same_within_an_execution_and_differ_between_two(
    lab: Laboratory, brokering: Brokering
) -> None:
    fields = {"base_url": "https://api.acme.example", "token": SECRET}
    definition = text(GO, "{id: nap, wait: 1h}", GO.replace("go,", "later,"))
    lab.connections = {"erp": fields}
    id = await lab.accept(definition)
    await lab.again(id)
    lab.clock.at += 3601
    await lab.again(id)
    await lab.run(definition)

    first, later, other = (job.egress.credentials[0].placeholder for job in brokering.jobs)
    assert first == later != other
    assert first.startswith("turnout-secret-")
    assert len(first) == len("turnout-secret-") + 32


async def test_a_token_that_is_renewed_between_two_steps_keeps_its_placeholder(
    lab: Laboratory, brokering: Brokering
) -> None:
    """The code has seen the placeholder; what the broker puts in its place is the token as it is then."""
    url = "https://api.acme.example"
    lab.connections = {"erp": {"base_url": url, "token": SecretStr("of-yesterday")}}

    def renew() -> None:
        lab.connections["erp"] = {"base_url": url, "token": SecretStr("of-today")}

    brokering.after = renew
    assert (await lab.run(text(GO, GO.replace("go,", "later,")))).status is Status.SUCCEEDED

    first, later = (job.egress.credentials[0] for job in brokering.jobs)
    assert first.placeholder == later.placeholder
    assert (first.secret, later.secret) == ("of-yesterday", "of-today")


def test_a_placeholder_depends_on_key_customer_execution_connection_and_field() -> None:
    usual = {"key": b"k", "tenant": "t", "execution": "e"}

    made = {
        Secrecy(**{**usual, **changed}).placeholder(*place)  # type: ignore[arg-type]
        for changed in ({}, {"key": b"j"}, {"tenant": "u"}, {"execution": "f"})
        for place in (("erp", "token"), ("erp", "key"), ("crm", "token"))
    }

    assert len(made) == 12


async def test_an_address_that_a_customer_set_is_reached_only_where_the_definition_lists_it(
    lab: Laboratory, brokering: Brokering
) -> None:
    fields = {"base_url": "http://10.1.2.3:8080/", "token": SECRET}

    [closed] = await jobs_of(lab, brokering, text(GO), fields)
    [_, opened] = await jobs_of(lab, brokering, text(GO, hosts="['10.1.2.3:8080']"), fields)

    assert closed.egress.hosts == ()
    assert opened.egress.hosts == ("10.1.2.3:8080",)
    assert closed.egress.credentials[0].hosts == opened.egress.credentials[0].hosts == ("10.1.2.3:8080",)


@pytest.mark.parametrize(
    ("kind", "fields", "says"),
    [
        ("token", {"token": SECRET}, "says nowhere which host"),
        ("wide", {"token": SECRET}, "for any host"),
        ("broken", {"token": SECRET}, "does not say which hosts it is for (RuntimeError)"),
    ],
)
async def test_a_connection_without_hosts_of_its_own_is_refused(
    lab: Laboratory, brokering: Brokering, kind: str, fields: Mapping[str, Any], says: str
) -> None:
    lab.connections = {"erp": fields}

    outcome = await lab.run(text(GO, kind=kind))

    assert outcome.error.kind == "connection"
    assert says in outcome.error.message
    assert SECRET not in outcome.error.message
    assert brokering.jobs == []


async def test_a_connection_without_secrets_needs_no_hosts(lab: Laboratory, brokering: Brokering) -> None:
    [job] = await jobs_of(lab, brokering, text(GO), {})

    assert job.egress.hosts == ()
    assert job.context["connections"] == {
        "erp": {"base_url": None, "token": None, "user": "ann", "again": "", "inner": None, "several": []}
    }


async def test_a_sandbox_without_a_broker_gets_no_connection(lab: Laboratory, brokering: Brokering) -> None:
    brokering.brokers = False
    lab.connections = {"erp": {"base_url": "https://api.acme.example", "token": SECRET}}

    outcome = await lab.run(text(GO))

    assert outcome.error.kind == "connection"
    assert "[runner] sandbox" in outcome.error.message
    assert brokering.jobs == []


async def test_each_request_is_a_line_of_the_steps_log(lab: Laboratory, brokering: Brokering) -> None:
    usual: dict[str, Any] = {"method": "GET", "host": "api.example.com", "port": 443, "path": "/orders", "tls": True}
    brokering.exchanges = [
        Exchange(**usual, status=200, received_bytes=1234, duration_s=0.0341),
        Exchange(**{**usual, "method": "POST", "host": "evil.example"}, refusal=f"no host {SECRET}"),
        Exchange(method="", host="evil.example", port=80, path="", tls=False, refusal="no"),
    ]
    await jobs_of(lab, brokering, text(GO), {"base_url": "https://api.example.com", "token": SECRET})

    lines = [(event.path, event.level, event.message) for _, event in lab.events if isinstance(event, Logged)]
    assert lines == [
        ("go", "debug", "GET api.example.com:443/orders → 200, 1.2 kB, 34 ms"),
        ("go", "warning", "POST evil.example:443/orders refused: no host ***"),
        ("go", "warning", "evil.example:80 refused: no"),
    ]


def test_a_long_path_is_cut_and_what_broke_off_says_so() -> None:
    exchange = Exchange(
        method="GET", host="fd00::1", port=80, path="/" + "x" * 500, tls=False, status=200, refusal="too large"
    )

    level, line = exchange_line(exchange)

    assert level == "warning"
    assert line.startswith("GET [fd00::1]:80/xxx")
    assert line.endswith("x… → 200, 0 B, 0 ms, broken off: too large")
    assert len(line) < 260


def of_config(written: str, value: Any) -> tuple[str, ...]:
    integration = Integration(name="i", code=CodeSettings(hosts=("cdn.example", written)))
    return hosts_of(integration, {"value": value})


@pytest.mark.parametrize(
    ("written", "value", "hosts"),
    [
        ("${{ config.value }}", "https://shop.acme.example:8443/x", ("shop.acme.example:8443",)),
        ("${{ config.value }}", "Shop.acme.example", ("shop.acme.example",)),
        ("${{ config.value }}", ["a.example", "https://b.example"], ("a.example", "b.example")),
        ("${{ config.value }}", None, ()),
        ("${{ config.value }}", "", ()),
        ("${{ config.value }}.shops.example", "acme", ("acme.shops.example",)),
        ("*.shops.example", "", ("*.shops.example",)),
    ],
)
def test_a_host_may_come_out_of_the_config(written: str, value: Any, hosts: tuple[str, ...]) -> None:
    assert of_config(written, value) == ("cdn.example", *hosts)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${{ config.value }}", "*"),
        ("${{ config.value }}", "*.example"),
        ("${{ config.value }}", "10.0.0.0/8"),
        ("${{ config.value }}", "http://169.254.169.254/latest"),
        ("${{ config.value }}", "http://[::1]/"),
        ("${{ config.value }}", "http://2130706433/"),
        ("${{ config.value }}", 7),
        ("${{ config.value }}", {"a": 1}),
        ("${{ config.value }}.shops.example", "evil.example/"),
        ("${{ config.value }}.shops.example", "evil.example#"),
        ("not a host", ""),
    ],
)
def test_what_the_config_gives_never_opens_more_than_one_named_host(written: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=r"`code\.hosts`"):
        of_config(written, value)


class Trusting(ProcessSandbox):
    """The real one, said to have a broker."""

    brokers = True


async def test_the_code_finds_them_in_its_context(lab: Laboratory, brokering: Brokering) -> None:
    sandbox = Trusting(warm_floor=0)
    lab.backends = replace(lab.backends, sandbox=sandbox)
    lab.connections = {"erp": {"base_url": "https://api.acme.example", "token": SECRET}}
    look = "{id: look, code: 'export default (_, context) => context.connections.erp', connections: [erp]}"

    outcome = await lab.run(text(look, "{id: end, stop: {output: '${{ steps.look }}'}}"))

    seen = outcome.output.load()
    assert (seen["base_url"], seen["user"]) == ("https://api.acme.example", "ann")
    assert seen["token"].startswith("turnout-secret-")
    await sandbox.close()
