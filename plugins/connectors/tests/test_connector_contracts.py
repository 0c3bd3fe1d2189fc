"""Every connector of this distribution keeps what every connector must."""

from importlib.metadata import entry_points

import pytest
from turnout.testing.connectors import ConnectorContract
from turnout_connectors.plugin import turnout_connectors


class TestHttp(ConnectorContract):
    @pytest.fixture
    def connector(self):
        return turnout_connectors()["http"]

    @pytest.fixture
    def examples(self):
        return {"request": {"url": "https://example.com"}}


class TestDropbox(ConnectorContract):
    @pytest.fixture
    def connector(self):
        return turnout_connectors()["dropbox"]

    @pytest.fixture
    def examples(self):
        return {
            "list": {},
            "download": {"path": "/a"},
            "upload": {"path": "/a", "content": "a"},
            "move": {"from_path": "/a", "to_path": "/b"},
            "delete": {"path": "/a"},
        }


class TestData(ConnectorContract):
    @pytest.fixture
    def connector(self):
        return turnout_connectors()["data"]


class TestState(ConnectorContract):
    @pytest.fixture
    def connector(self):
        return turnout_connectors()["state"]


def test_the_entry_point_leads_to_the_hook():
    [entry] = entry_points(group="turnout", name="connectors")

    plugin = entry.load()

    assert sorted(plugin.turnout_connectors()) == ["data", "dropbox", "http", "state"]
