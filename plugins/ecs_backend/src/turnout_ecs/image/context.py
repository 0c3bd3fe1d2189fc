"""The build context of a project's image: Dockerfile, wheels, requirements with digests, and the project's files."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Final

from turnout.deploy.distributions import installed
from turnout.deploy.packaging import FORMATS, MANIFEST
from turnout.errors import BackendError

from turnout_ecs.image.wheels import EXTRAS, gather, requirements

__all__ = ["BASE", "write_context"]

_PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
BASE: Final = f"python:{_PYTHON}-slim-bookworm"
_LEFT_OUT: Final = frozenset({"__pycache__", "node_modules"})
_WRITTEN_AT: Final = 315_532_800
"""1980-01-01: what is written is no part of what it is."""
_FILE, _PROGRAM, _DIRECTORY = 0o644, 0o755, 0o755


def write_context(project: Path, directory: Path, *, architecture: str, base: str, tell: Callable[[str], None]) -> None:
    """Write it into `directory`, which is empty: all that the image is built from, beside its base. The same project and the
    same installed distributions give the same bytes. `BackendError` says what cannot be had, or copied."""
    (directory / "Dockerfile").write_text(_dockerfile(base or BASE), encoding="utf-8")
    _copy(project, directory / "project", directory)
    wheels = directory / "wheels"
    wheels.mkdir()
    gather(installed(extras=EXTRAS), wheels, architecture=architecture, tell=tell)
    (directory / "requirements.txt").write_text(requirements(wheels), encoding="utf-8")
    for path in directory.rglob("*"):
        path.chmod(_DIRECTORY if path.is_dir() else _PROGRAM if path.stat().st_mode & 0o100 else _FILE)
        os.utime(path, (_WRITTEN_AT, _WRITTEN_AT))


def _dockerfile(base: str) -> str:
    """As it stands beside this file, with the base and the version of Python that the wheels are for."""
    lines = files("turnout_ecs").joinpath("image/Dockerfile").read_text("utf-8").splitlines()
    chosen = {"ARG BASE=": base, "ARG PYTHON=": _PYTHON}
    return "".join(
        next((f"{name}{value}" for name, value in chosen.items() if line.startswith(name)), line) + "\n"
        for line in lines
    )


def _copy(project: Path, to: Path, context: Path) -> None:
    to.mkdir()
    for path in _project_files(project, context):
        if not path.resolve().is_relative_to(project.resolve()):
            raise BackendError(
                f"{path}: it leads out of the project, and the image has the project alone: copy it there"
            )
        copy = to / path.relative_to(project)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)


def _project_files(directory: Path, context: Path) -> Iterator[Path]:
    """All but what is hidden (`.env`, `.git`, `.turnout`), environments, caches, packages that were made, and the context."""
    for path in sorted(directory.iterdir()):
        if path.name.startswith(".") or path.name in _LEFT_OUT or path == context:
            continue
        if not path.is_dir():
            yield path
        elif path.is_symlink():
            raise BackendError(f"{path}: a link to a directory is not copied into an image: put a directory there")
        elif not _made(path):
            yield from _project_files(path, context)


def _made(directory: Path) -> bool:
    """Whether somebody made it from something else: a virtual environment, or what `turnout package` writes."""
    if (directory / "pyvenv.cfg").exists():
        return True
    return (directory / MANIFEST).exists() and any((directory / one.file).exists() for one in FORMATS.values())
