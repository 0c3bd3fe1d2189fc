"""The `data` connector: documents to JSON and back, and archives. The modules beside this one add its actions."""

from __future__ import annotations

from turnout.connectors import Connector

__all__ = ["connector"]

connector = Connector(
    "data",
    title="Data",
    description="Parse and write CSV, XML, JSON and NDJSON; gzip and zip.",
    connection_required=False,
)
