"""`turnout plugins` and `turnout connectors`: what is installed, and what it takes and returns."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel, Field, SecretStr
from turnout.cli import main
from turnout.cli.commands import connectors as connectors_command
from turnout.cli.commands import plugins as plugins_command
from turnout.cli.schemas import input_schema, output_schema
from turnout.connectors import ActionContext, AfterCrash, ConnectionType, Connector, Effect, File, Inputs, Value
from turnout.hookspecs import hookimpl
from turnout.plugins import Plugin, Registry, load_plugins
from turnout.plugins.discovery import installed


class Token(ConnectionType):
    """An API token."""

    token: SecretStr


class Create(Inputs):
    name: str = Field(description="What to call it")
    color: str = "red"
    picture: File | None = None
    more: Value = Value(None)


class NoType:
    """A class that pydantic knows nothing of."""


class Created(BaseModel):
    id: int


crm = Connector("crm", title="The CRM", docs="https://crm.example/docs")
crm.connection("token", Token)


@crm.action(effect=Effect.EFFECT, after_crash=AfterCrash.UPSERT)
async def create(context: ActionContext, inputs: Create) -> Created:
    """Create a customer.

    By name.
    """
    return Created(id=1)


class Provider:
    @hookimpl
    def turnout_connectors(self) -> dict[str, Connector]:
        return {"crm": crm}


class Broken:
    @hookimpl
    def turnout_queues(self) -> dict[str, type]:
        raise RuntimeError("no licence")


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Registry:
    """The commands see two plugins: one good, one broken."""
    loaded = load_plugins(blocked={plugin.name for plugin in installed(())}, extra=[Provider(), Broken()])
    for module in (connectors_command, plugins_command):
        monkeypatch.setattr(module, "load_registry", lambda settings: loaded)
    monkeypatch.chdir(tmp_path)
    return loaded


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


def test_plugins_are_listed_and_broken_ones_named_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "plugins").splitlines()

    assert lines == [
        "PLUGIN    DISTRIBUTION  PROVIDES",
        "Provider  -             connectors: crm",
        "Broken    -             nothing",
        "broken: plugin 'Broken': turnout_queues raised RuntimeError: no licence",
    ]


def test_plugins_are_listed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    listing = json.loads(shown(capsys, "plugins", "--json"))

    assert listing["plugins"][0]["provides"]["connectors"] == ["crm"]
    assert listing["failures"] == [
        {"name": "Broken", "distribution": "", "error": "turnout_queues raised RuntimeError: no licence"}
    ]


def test_connectors_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "crm" in shown(capsys, "connectors", "list")
    (found,) = json.loads(shown(capsys, "connectors", "list", "--json"))
    assert found == {
        "name": "crm",
        "title": "The CRM",
        "actions": ["create"],
        "triggers": [],
        "connections": ["token"],
        "distribution": "",
    }


def test_a_connector_is_shown_with_its_connection_and_actions(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "connectors", "show", "crm")
    data = json.loads(shown(capsys, "connectors", "show", "crm", "--json"))

    assert "connection token" in text
    assert "create               Create a customer" in text
    assert data["connections"]["token"]["fields"]["properties"]["token"]["writeOnly"] is True
    assert data["actions"] == {"create": "Create a customer"}


def test_an_action_is_shown_with_inputs_output_and_effect(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "connectors", "show", "crm.create")
    data: dict[str, Any] = json.loads(shown(capsys, "connectors", "show", "crm.create", "--json"))

    assert "effect: effect (after a crash: upsert)" in text
    assert "  name                 string           required: What to call it" in text
    assert '  color                string           default "red"' in text
    assert "  picture              file | null" in text
    assert (data["effect"], data["after_crash"]) == ("effect", "upsert")
    assert data["description"] == "By name."
    assert data["inputs"]["required"] == ["name"]
    assert data["output"]["properties"]["id"]["type"] == "integer"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("crn", "no connector 'crn': did you mean 'crm'?"),
        ("crm.creat", "no action or trigger of crm 'creat': did you mean 'create'?"),
        ("crm.zzz", "it has create"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str], name: str, said: str) -> None:
    assert main(["connectors", "show", name]) == 2

    assert said in capsys.readouterr().err


def test_an_unknown_environment_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "--env", "production"]) == 2

    assert "environment 'production'" in capsys.readouterr().err


def test_types_of_ours_have_schemas() -> None:
    assert output_schema(File)["title"] == "File"
    assert output_schema(list[File])["items"]["title"] == "File"
    assert output_schema(Value) == output_schema(Any) == {}
    assert output_schema(Created)["required"] == ["id"]
    assert input_schema(Create)["properties"]["more"] == {"title": "More", "default": None}


def test_a_type_without_a_schema_says_why_and_hides_nothing_else() -> None:
    assert "NoType" in output_schema(NoType)["$comment"]
    assert "NoType" in output_schema(dict[str, NoType])["$comment"]


def test_a_plugin_is_listed_with_its_distributions_version(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = Plugin(name="acme", distribution="acme-turnout", version="2.5")
    fake = SimpleNamespace(plugins=(plugin,), failures=(), provided=lambda kind: {})
    monkeypatch.setattr(plugins_command, "load_registry", lambda settings: fake)

    assert "acme    acme-turnout 2.5  nothing" in shown(capsys, "plugins")
