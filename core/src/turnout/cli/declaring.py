"""Writing the declaration of a connector into `turnout.toml`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from turnout.errors import UserError

__all__ = ["CONNECTOR_NAME", "name_of_description", "write_declaration"]

CONNECTOR_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")


def name_of_description(description: str) -> str:
    """`specs/PetStore-v3.json` is `pet_store_v3`."""
    stem = Path(description).name.partition(".")[0]
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", stem).lower()
    return re.sub(r"[^a-z0-9]+", "_", words).strip("_")


def write_declaration(file: Path, name: str, declared: Mapping[str, str]) -> None:
    """Add `[connectors.<name>]` at the end of the file, which is otherwise left as it is, and made where there is none."""
    lines = [
        f"[connectors.{name}]",
        *(f"{key} = {json.dumps(text, ensure_ascii=False)}" for key, text in declared.items()),
    ]
    try:
        before = file.read_text(encoding="utf-8") if file.exists() else ""
        between = "" if not before else "\n" if before.endswith("\n") else "\n\n"
        file.write_text(f"{before}{between}{chr(10).join(lines)}\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{file}: it cannot be written: {error.strerror or error}") from error
