"""Connectors that are made from a description: an OpenAPI document, say. A project declares them in `[connectors.<name>]`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from pydantic import BaseModel

from turnout.interfaces.connector import Connector

__all__ = ["DESCRIPTIONS", "ConnectorSource"]

DESCRIPTIONS: Final = "connectors"
"""The project's directory of descriptions. What is packaged for a compute target takes it along, and nothing else of a source's."""


class ConnectorSource(ABC):
    """What makes connectors of one kind of description. `Options` is the model of a declaration's settings, without `source`,
    which names this class."""

    Options: ClassVar[type[BaseModel]]

    @classmethod
    @abstractmethod
    def connector(cls, name: str, options: Any, root: Path) -> Connector:
        """The connector of that name, from `options` (an `Options`) and files in the project's directory `root`; nothing is asked
        of a network. `SettingsError` says which setting, or which place of the description, is wrong and what to do."""

    @classmethod
    @abstractmethod
    def declare(cls, name: str, description: str, root: Path) -> Mapping[str, str]:
        """Take a description (a file's path, or what else this source knows) into the project: what it needs is copied into `DESCRIPTIONS`
        there, so that the project is whole. Returns the settings of the declaration, without `source`. `UserError` says what is wrong
        with it; then nothing was written."""
