"""Where definitions are: from a path that a person gives to integrations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from turnout.definition.loader import load_yaml
from turnout.definition.places import shown_path
from turnout.definition.python_source import load_python
from turnout.errors import DefinitionError, NotFound, Problem
from turnout.model.definition import Integration

__all__ = ["DEFINITION_FILES", "find_integrations", "load_integration"]

DEFINITION_FILES: Final = ("integration.yaml", "integration.yml", "integration.py")
PROJECT_FILE: Final = "turnout.toml"
INTEGRATIONS: Final = "integrations"


def load_integration(path: Path) -> Integration:
    """The integration of a `.yaml`, `.yml` or `.py` file, or of a directory that holds one of `DEFINITION_FILES`.

    `NotFound` if there is none; `DefinitionError` if it does not have the form of one. What it refers to is not checked:
    that is `validate`.
    """
    file = _definition_in(path) if path.is_dir() else path
    if file is None:
        raise _nothing_at(path)
    if not file.exists():
        raise NotFound("definition", str(path), hint="there is no such file or directory")
    try:
        match file.suffix.lower():
            case ".yaml" | ".yml":
                return load_yaml(file)
            case ".py":
                return load_python(file)
            case _:
                raise NotFound("definition", str(path), hint="a definition is a .yaml, .yml or .py file")
    except DefinitionError as error:
        # Positions name the file alone, so that a bundle says the same everywhere; a person needs the way to it.
        shown = shown_path(file)
        raise DefinitionError(
            [replace(problem, file=shown) if problem.file == file.name else problem for problem in error.problems]
        ) from error


_LOADERS: Final[Mapping[str, Callable[[Path], Integration]]] = {
    ".yaml": load_yaml,
    ".yml": load_yaml,
    ".py": load_python,
}


def find_integrations(path: Path) -> list[Path]:
    """The definition files of a project, in the order of their names.

    A file is its own answer. A directory gives its own definition file, if it has one, and those of the directories
    in its `integrations/`, one level deep; nothing else is looked into. `NotFound` if there is none, unless the
    directory is a project (it holds `turnout.toml`): a project may be empty.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise NotFound("project", str(path), hint="there is no such file or directory")
    below = path / INTEGRATIONS
    directories = [path, *(sorted(below.iterdir()) if below.is_dir() else ())]
    found = [file for directory in directories if directory.is_dir() and (file := _definition_in(directory))]
    if not found and not (path / PROJECT_FILE).is_file():
        raise _nothing_at(path)
    return found


def _definition_in(directory: Path) -> Path | None:
    found = [file for name in DEFINITION_FILES if (file := directory / name).is_file()]
    if len(found) > 1:
        names = " and ".join(file.name for file in found)
        raise DefinitionError([Problem(message=f"there are {names}: keep one", file=str(directory))])
    return found[0] if found else None


def _nothing_at(path: Path) -> NotFound:
    names = ", ".join(DEFINITION_FILES)
    return NotFound(
        "definition", str(path), hint=f"the directory holds none of {names}, and no {INTEGRATIONS}/ with them"
    )
