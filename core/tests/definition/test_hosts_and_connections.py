"""What code steps may reach, and with whose credentials: in YAML, in Python, in a bundle, and what `validate` says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import jsonschema
import pytest
import yaml
from turnout import CodeSettings, Integration, code, connection, flow, variable
from turnout.definition import load_integration, validate
from turnout.definition.codec import dump, parse
from turnout.definition.loader import load_yaml_text
from turnout.definition.schema import json_schema
from turnout.errors import DefinitionError, Problem
from turnout.interfaces.connector import Connector
from turnout.model.definition import CodeStep

TEXT = """\
integration: x
config:
  shop: string
connections:
  erp: {connector: http, type: bearer}
code:
  hosts:
    - api.example.com
    - "*.example.org:8443"
    - ${{ config.shop }}
flows:
  main:
    steps:
      - id: go
        code: "export default () => 1"
        connections: [erp]
"""

Check = Callable[..., list[Problem]]


@pytest.fixture
def check(tmp_path: Path, connectors: Mapping[str, Connector], monkeypatch: pytest.MonkeyPatch) -> Check:
    monkeypatch.chdir(tmp_path)

    def run(*replacements: tuple[str, str]) -> list[Problem]:
        text = TEXT
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new, 1)
        (tmp_path / "integration.yaml").write_text(text)
        return validate(load_integration(tmp_path), connectors)

    return run


def test_yaml_and_python_say_the_same() -> None:
    python = Integration(
        name="x",
        config=[variable("shop")],
        connections=[connection("erp", "http", "bearer")],
        code=CodeSettings(hosts=("api.example.com", "*.example.org:8443", "${{ config.shop }}")),
        flows=[flow("main", steps=[code("go", "export default () => 1", connections="erp")])],
    )

    assert python == load_yaml_text(TEXT)
    [step] = python.flows["main"].steps
    assert isinstance(step, CodeStep)
    assert step.connections == ("erp",)


def test_one_host_and_one_connection_need_no_list() -> None:
    text = TEXT.replace("connections: [erp]", "connections: erp")

    assert load_yaml_text(text) == load_yaml_text(TEXT)
    assert CodeSettings(hosts="a.example").hosts == ("a.example",)  # type: ignore[arg-type]  # as people may write it
    assert load_yaml_text(
        "integration: x\ncode: {hosts: a.example}\nflows: {m: {steps: [{id: a, wait: 1s}]}}"
    ).code.hosts == ("a.example",)


def test_a_bundle_keeps_them_and_an_older_one_says_nothing_of_them() -> None:
    integration = load_yaml_text(TEXT)
    bare = load_yaml_text(
        TEXT.partition("code:\n")[0] + "flows:" + TEXT.partition("flows:")[2].replace("connections: [erp]", "")
    )

    assert parse(dump(integration)) == integration
    assert b"hosts" not in dump(bare)
    assert dump(bare).count(b"connections") == 1  # the integration's own


def test_the_schema_of_editors_knows_them() -> None:
    jsonschema.validate(yaml.safe_load(TEXT), json_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(TEXT.replace("[erp]", "{erp: 1}")), json_schema())


def test_what_is_right_is_sound(check: Check) -> None:
    assert check() == []
    assert check(("- api.example.com", "- 10.1.0.0/16\n    - '[fd00::1]:8443'\n    - '*'")) == []


@pytest.mark.parametrize(
    ("old", "new", "place", "message", "hint"),
    [
        ("api.example.com", "https://api.example.com/", "8:7", "write the host alone", "*.example.com"),
        ("api.example.com", "example.com:99999", "8:7", "from 1 to 65535", "example.com:8443"),
        ("api.example.com", "2130706433", "8:7", "as it is usually written", "10.1.2.3"),
        ("api.example.com", "a.*.example.com", "8:7", "at the beginning alone", "*.example.com"),
        ("config.shop", "config.shp", "10:", "no config variable 'shp'", "did you mean 'shop'?"),
        ("config.shop", "trigger.body.url", "10:", "nothing is called 'trigger'", "they see `config` alone"),
        ("config.shop", "config.", "10:", "`code.hosts`", ""),
        ("[erp]", "[epr]", "16:23", "step 'go': there is no connection 'epr'", "did you mean 'erp'?"),
        ("[erp]", "[erp, erp]", "16:28", "step 'go': it names the connection 'erp' twice", ""),
        ("connections: [erp]", "timeout: 5s", "5:3", "connection 'erp' is used by no step", "`connections` of a code"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    check: Check, old: str, new: str, place: str, message: str, hint: str
) -> None:
    problems = [problem for problem in check((old, new)) if problem.severity == "error"]

    problem = problems[-1]  # what is not named is also not used
    assert f"{problem.line}:{problem.column}".startswith(place)
    assert message in problem.message
    assert hint in problem.hint


def test_a_host_that_stands_there_twice_is_a_warning(check: Check) -> None:
    [problem] = check(("api.example.com", "API.example.com\n    - api.example.com"))

    assert (problem.severity, problem.line) == ("warning", 9)


@pytest.mark.parametrize(
    ("old", "new"),
    [("- api.example.com", "- [a]"), ("- api.example.com", "- {a: 1}"), ("[erp]", "[{a: 1}]"), ("[erp]", "[]x")],
)
def test_what_is_not_text_is_refused_where_it_stands(old: str, new: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        load_yaml_text(TEXT.replace(old, new))

    assert caught.value.problems[0].line in (8, 16)


def test_a_connection_of_an_action_is_no_key_of_code(check: Check) -> None:
    with pytest.raises(DefinitionError) as caught:
        check(("connections: [erp]", "connection: erp"))

    assert caught.value.problems[0].hint == "it is called 'connections' here"
