"""Connectors that a project declares, made by a source that a plugin provides."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, ConfigDict
from turnout import hookimpl
from turnout.config import Settings
from turnout.connectors import Connector, ConnectorSource
from turnout.errors import SettingsError
from turnout.plugins import Kind, load_plugins
from turnout.plugins.discovery import installed


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: str


class Titles(ConnectorSource):
    Options: ClassVar[type[BaseModel]] = Options

    @classmethod
    def connector(cls, name: str, options: Any, root: Path) -> Connector:
        made: Options = options
        api_version = 99 if made.title == "later" else 1
        return Connector(name, title=f"{made.title} in {root.name}", api_version=api_version)

    @classmethod
    def declare(cls, name: str, description: str, root: Path) -> Mapping[str, str]:
        raise AssertionError("nothing is declared here")


class Plugin:
    @hookimpl
    def turnout_connectors(self) -> Mapping[str, Connector]:
        return {"crm": Connector("crm")}

    @hookimpl
    def turnout_connector_sources(self) -> Mapping[str, type[ConnectorSource]]:
        return {"titles": Titles}


def connectors(root: Path, **declared: Mapping[str, Any]) -> Mapping[str, Connector]:
    settings = Settings(root=root, connectors=declared)
    return load_plugins(settings, extra=[Plugin()], blocked={entry.name for entry in installed(())}).connectors


def test_a_declared_connector_is_there_with_those_of_plugins(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path / "shop", connectors={"pets": {"source": "titles", "title": "Pets"}})
    registry = load_plugins(settings, extra=[Plugin()], blocked={entry.name for entry in installed(())})

    assert set(registry.connectors) == {"crm", "pets"}
    assert registry.connectors["pets"].title == "Pets in shop"
    assert registry.provided(Kind.CONNECTORS)["pets"].name == "turnout.toml"
    assert registry.failures == ()


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"pets": {}}, r"connectors\.pets\.source: say of which kind its description is"),
        ({"pets": {"source": 5}}, r"connectors\.pets\.source: say of which kind"),
        (
            {"pets": {"source": "titels"}},
            r"connectors\.pets\.source: no connector source 'titels': did you mean 'titles'",
        ),
        ({"pets": {"source": "titles"}}, r"connectors\.pets\.title: it must be set"),
        (
            {"pets": {"source": "titles", "titel": "x", "title": "y"}},
            r"connectors\.pets\.titel: .*did you mean 'title'",
        ),
        ({"crm": {"source": "titles", "title": "x"}}, r"connectors\.crm: a plugin provides a connector of this name"),
        ({"a b": {"source": "titles", "title": "x"}}, r"connectors\.a b: .*must be text without spaces"),
        ({"pets": {"source": "titles", "title": "later"}}, r"connectors\.pets: .*needs connector API 99"),
    ],
)
def test_a_wrong_declaration_is_named(tmp_path: Path, declared: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        connectors(tmp_path, **declared)
