"""Connectors from documents that tests write."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from turnout.connectors import Connector
from turnout_connectors.openapi.source import OpenApiSource

Make = Callable[..., Connector]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """The connector `shop` of a document; what is left out of that is as short as it may be."""

    def make(document: dict[str, Any], **options: Any) -> Connector:
        whole = {"openapi": "3.0.3", "info": {"title": "Shop", "version": "1"}, **document}
        if "swagger" in document:
            del whole["openapi"]
        (tmp_path / "connectors").mkdir(exist_ok=True)
        (tmp_path / "connectors" / "shop.json").write_text(json.dumps(whole))
        return OpenApiSource.connector(
            "shop", OpenApiSource.Options(document="connectors/shop.json", **options), tmp_path
        )

    return make
