"""The entry point: which connectors this distribution provides. It loads none of them until it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from turnout import hookimpl

if TYPE_CHECKING:
    from turnout.connectors import Connector, ConnectorSource


@hookimpl
def turnout_connectors() -> Mapping[str, Connector]:
    from turnout_connectors.data import connector as data
    from turnout_connectors.dropbox import connector as dropbox
    from turnout_connectors.http import connector as http
    from turnout_connectors.state import connector as state
    from turnout_connectors.webhook import connector as webhook

    return {connector.name: connector for connector in (http, dropbox, data, state, webhook)}


@hookimpl
def turnout_connector_sources() -> Mapping[str, type[ConnectorSource]]:
    from turnout_connectors.openapi.source import OpenApiSource

    return {"openapi": OpenApiSource}
