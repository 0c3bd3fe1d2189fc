"""Every connector of this distribution keeps what every connector must."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

import pytest
from turnout.interfaces.connector import Connector
from turnout.testing.connectors import ConnectorContract
from turnout_connectors.plugin import turnout_connectors


class TestHttp(ConnectorContract):
    @pytest.fixture
    def connector(self) -> Connector:
        return turnout_connectors()["http"]

    @pytest.fixture
    def examples(self) -> Mapping[str, Mapping[str, Any]]:
        return {"request": {"url": "https://example.com"}}


class TestDropbox(ConnectorContract):
    @pytest.fixture
    def connector(self) -> Connector:
        return turnout_connectors()["dropbox"]

    @pytest.fixture
    def examples(self) -> Mapping[str, Mapping[str, Any]]:
        return {
            "list": {},
            "download": {"path": "/a"},
            "upload": {"path": "/a", "content": "a"},
            "move": {"from_path": "/a", "to_path": "/b"},
            "delete": {"path": "/a"},
        }


class TestData(ConnectorContract):
    @pytest.fixture
    def connector(self) -> Connector:
        return turnout_connectors()["data"]


class TestState(ConnectorContract):
    @pytest.fixture
    def connector(self) -> Connector:
        return turnout_connectors()["state"]


def test_the_entry_point_leads_to_the_hook() -> None:
    [entry] = entry_points(group="turnout", name="connectors")

    plugin = entry.load()

    assert sorted(plugin.turnout_connectors()) == ["data", "dropbox", "http", "state", "webhook"]


class TestWebhook(ConnectorContract):
    @pytest.fixture
    def connector(self) -> Connector:
        return turnout_connectors()["webhook"]
