"""How definitions say that webhooks are verified and answered: what is read, in both languages, what is refused and where."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import SecretStr
from turnout import Integration, flow, stop, webhook
from turnout.connectors import SCHEMES, ConnectionType, Connector, Inputs, Request, TriggerEvent, Value
from turnout.definition import dump, json_schema, load_integration, parse, validate
from turnout.definition.authoring import connection, on
from turnout.definition.loader import load_yaml_text
from turnout.definition.nodes import plain
from turnout.definition.yaml_source import read_text
from turnout.errors import DefinitionError, PluginError, Problem
from turnout.model.definition import Trigger
from turnout.model.webhook import Answer, Hook, Respond, Verify

FLOW = """\
integration: shop
connections:
  hook: {connector: hooks, type: secret}
flows:
  take:
    trigger:
      webhook:
        %s
    steps: [{id: done, stop: {output: 1}}]
"""
SCHEMA = Draft202012Validator(json_schema())


class Secret(ConnectionType):
    secret: SecretStr
    previous: SecretStr | None = None
    name: str = ""


class Signing(ConnectionType):
    signing_secret: SecretStr


@pytest.fixture(scope="module")
def connectors() -> Mapping[str, Connector]:
    hooks = Connector("hooks")
    hooks.connection("secret", Secret)
    hooks.connection("signing", Signing)

    @hooks.trigger(scheme="slack", secrets=["signing_secret"])
    async def event(request: Request, connection: Any, inputs: Inputs) -> TriggerEvent:
        """An event."""
        return TriggerEvent(value=Value(None))

    return {"hooks": hooks}


def text(written: str) -> str:
    return FLOW % written.strip().replace("\n", "\n        ")


DESCRIBED = """\
verify:
  scheme: hmac
  connection: hook
  header: X-Sign
  algorithm: sha512
  encoding: base64
  prefix: v1=
  signed: '{timestamp}.{body}'
  timestamp: X-Time
  timestamp_unit: ms
  delivery: body:id
"""
FORMS: list[tuple[str, dict[str, Any], Hook]] = [
    (
        "verify: {scheme: github, connection: hook}",
        {"verify": {"scheme": "github", "connection": "hook"}},
        Hook(verify=Verify(scheme="github")),
    ),
    (
        "verify: {scheme: stripe, connection: hook, fields: secret, tolerance: 1m}",
        {"verify": {"scheme": "stripe", "connection": "hook", "fields": "secret", "tolerance": 60}},
        Hook(verify=Verify(scheme="stripe", fields=("secret",), tolerance_s=60.0)),
    ),
    (
        DESCRIBED,
        {
            "verify": {
                "scheme": "hmac",
                "connection": "hook",
                "header": "X-Sign",
                "algorithm": "sha512",
                "encoding": "base64",
                "prefix": "v1=",
                "signed": "{timestamp}.{body}",
                "timestamp": "X-Time",
                "timestamp_unit": "ms",
                "delivery": "body:id",
            }
        },
        Hook(
            verify=Verify(
                scheme="hmac",
                header="X-Sign",
                algorithm="sha512",
                encoding="base64",
                prefix="v1=",
                signed="{timestamp}.{body}",
                timestamp="X-Time",
                timestamp_unit="ms",
                delivery="body:id",
            )
        ),
    ),
    ("verify: bearer", {"verify": "bearer"}, Hook(verify=Verify(scheme="bearer"))),
    (
        "respond: {wait: 10s, status: 201, headers: {X-A: b}, body: {a: 1}, late: {status: 503}, failed: {body: no}}",
        {
            "respond": {
                "wait": "10s",
                "status": 201,
                "headers": {"X-A": "b"},
                "body": {"a": 1},
                "late": {"status": 503},
                "failed": {"body": "no"},
            }
        },
        Hook(
            respond=Respond(
                wait_s=10.0,
                answer=Answer(status=201, headers={"x-a": "b"}, body={"a": 1}),
                late=Answer(status=503),
                failed=Answer(body="no"),
            )
        ),
    ),
    (
        "cors: https://shop.example\nmethods: [POST, PUT]",
        {"cors": "https://shop.example", "methods": ["POST", "PUT"]},
        Hook(cors=("https://shop.example",), methods=("POST", "PUT")),
    ),
]


@pytest.mark.parametrize(("written", "python", "expected"), FORMS)
def test_yaml_and_python_say_the_same_and_it_survives_the_bundle(
    written: str, python: dict[str, Any], expected: Hook
) -> None:
    read = load_yaml_text(text(written))
    made = Integration(
        name="shop",
        connections=[connection("hook", "hooks", type="secret")],
        flows=[flow("take", webhook(**python), steps=[stop("done", output=1)])],
    )

    assert read.flows["take"].trigger.hook == expected
    assert dump(made, positions=False) == dump(read, positions=False)
    assert parse(dump(read)).flows["take"].trigger == read.flows["take"].trigger
    assert SCHEMA.is_valid(plain(read_text(text(written), name="integration.yaml")))


@pytest.mark.parametrize(("written", "python", "expected"), FORMS)
def test_what_is_meant_has_no_problem(
    tmp_path: Path, connectors: Mapping[str, Connector], written: str, python: dict[str, Any], expected: Hook
) -> None:
    assert [one for one in problems(tmp_path, connectors, written) if "is used by no step" not in one.message] == []


def problems(tmp_path: Path, connectors: Mapping[str, Connector], written: str) -> list[Problem]:
    (tmp_path / "integration.yaml").write_text(text(written))
    return validate(load_integration(tmp_path), connectors)


REFUSED: list[tuple[str, int, str]] = [
    ("verify: {scheme: github}", 8, "'github' needs a connection"),
    ("verify: {scheme: basic}", 8, "`username` and `password`"),
    ("verify: {scheme: github, connection: hok}", 8, "there is no connection 'hok' (did you mean 'hook'?)"),
    ("verify:\n  scheme: github\n  connection: hook\n  fields: [secrt]", 11, "has no field 'secrt'"),
    ("verify: {scheme: basic, connection: hook}", 8, "has no field 'username'"),
    ("verify: {scheme: hmac, connection: hook}", 8, "`header` must say"),
    ("verify: {scheme: hmac, connection: hook, header: X, signed: '{timestamp}'}", 8, "must name {body}"),
    ("verify: {scheme: hmac, connection: hook, header: X, timestamp: T}", 8, "a time that is not signed"),
    ("verify: {scheme: github, connection: hook, algorithm: sha1}", 8, "`algorithm` is for the scheme `hmac`"),
    ("verify: {scheme: github, connection: hook, tolerance: 1m}", 8, "this one signs none"),
    ("verify: {scheme: stripe, connection: hook, tolerance: 1d}", 8, "at most 6h"),
    ("verify: {scheme: github, connection: hook, delivery: x-id}", 8, "`delivery` is `header:NAME`"),
    ("cors: [https://a.example, shop.example]", 8, "'shop.example' is no origin"),
    ("cors: https://shop.example/path", 8, "is no origin"),
    ("respond: {wait: 10m}", 8, "at most 5m"),
    ("respond: {late: {status: 503}}", 8, "`late` is for answers that wait"),
    ("respond: {body: '${{ output }}'}", 8, "'output' is not known yet"),
    ("respond: {wait: 1s, body: '${{ steps.done }}'}", 8, "steps are not seen here"),
    ("respond: {wait: 1s, late: {body: '${{ output }}'}}", 8, "'output' is not known yet"),
    ("respond: {body: '${{ trigger. }}'}", 8, "flow 'take': `respond`"),
    ("respond: {body: '${{ config.url }}'}", 8, "config"),
    ("respond: {headers: {Content-Length: '5'}}", 8, "the header 'content-length' cannot be set"),
    ('respond:\n  headers:\n    X-A: "a\\r\\nb: c"', 9, "printable ASCII on one line"),
]


@pytest.mark.parametrize(("written", "line", "message"), REFUSED)
def test_what_cannot_be_meant_is_told_with_its_line(
    tmp_path: Path, connectors: Mapping[str, Connector], written: str, line: int, message: str
) -> None:
    found = [one for one in problems(tmp_path, connectors, written) if "is used by no step" not in one.message]

    assert [(one.line, message in str(one)) for one in found] == [(line, True)], found


UNREADABLE = [
    ("verify: {scheme: github, secret: s3cret}", "no key 'secret' (it is called 'connection' here)"),
    ("verify: {scheme: githb, connection: hook}", "did you mean 'github'?"),
    ("verify: {connection: hook}", "`verify` needs `scheme`"),
    ("methods: [TRACE]", "cannot be 'TRACE'"),
    ("respond: {status: 100}", "from 200 to 599"),
    ("respond: {status: ok}", "must be a whole number"),
    ("respond: {headers: {'X A': b}}", "cannot be the name of a header"),
    ("response: {status: 200}", "it is called 'respond' here"),
]


@pytest.mark.parametrize(("written", "message"), UNREADABLE)
def test_what_is_not_of_the_form_is_refused_by_the_loader_and_the_schema(written: str, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        load_yaml_text(text(written))

    assert message in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert not SCHEMA.is_valid(plain(read_text(text(written), name="integration.yaml")))


def test_a_window_that_forgets_before_a_signature_ends_is_refused(
    tmp_path: Path, connectors: Mapping[str, Connector]
) -> None:
    """Control: a longer window, and a sender that signs no time, have no problem."""

    def found(scheme: str, window: str) -> list[str]:
        limits = f"    limits: {{deduplicate: {{key: '${{{{ trigger.body.id }}}}', window: {window}}}}}\n    steps:"
        whole = text(f"verify: {{scheme: {scheme}, connection: hook}}").replace("    steps:", limits)
        (tmp_path / "integration.yaml").write_text(whole)
        return [str(one) for one in validate(load_integration(tmp_path), connectors)]

    [problem] = found("slack", "1m")
    assert "integration.yaml:9:" in problem
    assert "a copy sent in between would run again" in problem
    assert found("slack", "10m") == found("github", "1m") == []


@pytest.mark.parametrize(
    ("scheme", "key", "warned"),
    [
        ("slack", 'trigger.headers."x-id"', True),
        ("slack", "trigger.query.id", True),
        ("slack", "trigger.body.id", False),
        ("standard-webhooks", 'trigger.headers."webhook-id"', False),
        ("standard-webhooks", 'trigger.headers."x-id"', True),
        ("hubspot", "trigger.query.id", False),
        ("github", 'trigger.headers."x-github-delivery"', False),
    ],
)
def test_a_key_that_nobody_signed_is_warned_of_where_copies_are_refused(
    tmp_path: Path, connectors: Mapping[str, Connector], scheme: str, key: str, warned: bool
) -> None:
    """Of a sender that signs no time, copies cannot be told anyway."""
    limits = f"    limits:\n      deduplicate: '${{{{ {key} }}}}'\n    steps:"
    whole = text(f"verify: {{scheme: {scheme}, connection: hook}}").replace("    steps:", limits)
    (tmp_path / "integration.yaml").write_text(whole)

    found = validate(load_integration(tmp_path), connectors)

    told = [(one.severity, one.line) for one in found if "does not sign" in one.message]
    assert told == ([("warning", 10)] if warned else [])


def test_a_connectors_trigger_takes_its_answer_beside_its_connection() -> None:
    read = load_yaml_text(
        "integration: shop\nconnections: {hook: {connector: hooks}}\nflows:\n  take:\n"
        "    trigger: {hooks.event: {connection: hook, respond: {status: 200}, cors: '*'}}\n"
        "    steps: [{id: done, stop: {}}]\n"
    )
    hook = Hook(respond=Respond(answer=Answer(status=200)), cors=("*",))

    expected = Trigger(type="hooks.event", connection="hook", hook=hook)
    assert read.flows["take"].trigger == expected
    assert on("hooks.event", connection="hook", respond={"status": 200}, cors="*") == expected


def test_a_connector_cannot_name_a_scheme_that_there_is_not() -> None:
    with pytest.raises(PluginError, match="no scheme 'slak'; there are github"):
        Connector("hooks").trigger(scheme="slak")


def test_every_scheme_says_where_its_provider_documents_it() -> None:
    for name, scheme in SCHEMES.items():
        assert scheme.title
        assert scheme.docs.startswith("https://") or name in ("api_key", "bearer", "basic")
