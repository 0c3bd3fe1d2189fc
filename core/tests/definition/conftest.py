"""The integration of the story, as a project of its own, and connectors with its actions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field, SecretStr
from turnout.connectors import ActionContext, ConnectionType, Connector, Effect, File, Inputs, Response, TriggerEvent

ORDERS = """\
# The 6-step integration of the original story.
integration: orders-to-erp
version: 1.0.0
description: Pull the orders document, keep the large orders, post them to the ERP.

config:
  erp_url: {type: string, description: Base URL of the ERP's API}
  minimum_total: {type: number, default: 100, description: Orders below this total are left out}

connections:
  files: {connector: dropbox}
  erp: {connector: http, type: bearer}

code:
  dependencies: package-lock.json   # npm packages of the code steps, pinned

flows:
  sync-orders:
    trigger: {webhook: {}}
    timeout: 5m
    steps:
      - id: fetch
        action: dropbox.download
        connection: files
        with: {path: /orders.xml}

      - id: parse
        code: parse.js
        with: {xml: "${{ steps.fetch.text }}"}

      - id: large
        code: |
          export default ({ orders, minimum }) =>
            orders.filter((order) => order.total >= minimum)
        with: {orders: "${{ steps.parse }}", minimum: "${{ config.minimum_total }}"}

      - id: batch
        action: state.increment
        with: {key: batches}

      - id: post
        action: http.request
        connection: erp
        with:
          method: POST
          url: "${{ config.erp_url }}/orders"
          json: {batch: "${{ steps.batch.value }}", orders: "${{ steps.large }}"}
        retry: {attempts: 5, delay: 1s, backoff: exponential}

      - id: result
        stop: {output: {posted: "${{ length(steps.large) }}", receipt: "${{ steps.post.json.receipt }}"}}
"""


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    """A directory with the definition and the files that it names."""
    directory = tmp_path / "orders"
    directory.mkdir()
    (directory / "integration.yaml").write_text(ORDERS)
    (directory / "parse.js").write_text("export default () => []\n")
    (directory / "package-lock.json").write_text("{}\n")
    return directory


class Token(ConnectionType):
    access_token: SecretStr


class Download(Inputs):
    path: str = Field(min_length=1)
    limit: int = 10


class Request(Inputs):
    method: str = "GET"
    url: str
    data: Any = Field(default=None, alias="json")
    headers: dict[str, str] = Field(default_factory=dict)


class Answer(BaseModel):
    status: int
    headers: dict[str, str]
    data: Any = Field(alias="json")


class Increment(Inputs):
    key: str
    by: int = 1


class Counter(BaseModel):
    value: int


class Folder(Inputs):
    path: str


@pytest.fixture(scope="session")
def connectors() -> Mapping[str, Connector]:
    """Connectors of the shapes that checks tell apart: with and without connections, outputs of every sort."""
    dropbox = Connector("dropbox")
    dropbox.connection("token", Token)
    dropbox.connection("app", Token)
    http = Connector("http", connection_required=False)
    http.connection("bearer", Token)
    http.connection("basic", Token)
    state = Connector("state")

    @dropbox.action(effect=Effect.READ)
    async def download(context: ActionContext, inputs: Download) -> File:
        """Download a file."""
        raise NotImplementedError

    @dropbox.trigger(inputs=Folder)
    async def changed(request: object, connection: object, inputs: object) -> TriggerEvent | Response:
        """Something changed."""
        raise NotImplementedError

    @http.action(effect=Effect.EFFECT)
    async def request(context: ActionContext, inputs: Request) -> Answer:
        """Send a request."""
        raise NotImplementedError

    @state.action(effect=Effect.EFFECT)
    async def increment(context: ActionContext, inputs: Increment) -> Counter:
        """Add to a number."""
        raise NotImplementedError

    return {"dropbox": dropbox, "http": http, "state": state}
