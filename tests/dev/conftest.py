"""`turnout dev` as a process on a project of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dev.commands import FLOWS, Dev


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "turnout.toml").write_text("")
    (tmp_path / "integration.yaml").write_text(FLOWS)
    return tmp_path


@pytest.fixture
def dev(project: Path) -> Iterator[Dev]:
    with Dev(project) as served:
        yield served


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """One `turnout dev` for tests that only ask it."""
    directory = tmp_path_factory.mktemp("desk")
    (directory / "turnout.toml").write_text("")
    (directory / "integration.yaml").write_text(FLOWS)
    with Dev(directory) as served:
        yield served
