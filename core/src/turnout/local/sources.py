"""What of an integration's directory goes into its bundle.

The rule: text sources by their suffix (`.js .mjs .cjs .ts .mts .json`, and `.py` where a code step is Python), up to `LARGEST_BYTES` each, anywhere below the
definition, except lockfiles, what begins with a dot, and the directories `node_modules`, `site-packages`, `test`, `tests`, `__pycache__`,
`venv` and `dist`. A file that a code step names is always in, and refused clearly where it cannot be: larger, missing, or,
by `..` or a symbolic link, outside. Other links that lead outside are left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from turnout.errors import DefinitionError, Problem
from turnout.model.definition import CodeStep, language_of

__all__ = ["LARGEST_BYTES", "MOST_BYTES", "MOST_FILES", "gather", "inside"]

LARGEST_BYTES: Final = 1024 * 1024
MOST_BYTES: Final = 32 * 1024 * 1024
MOST_FILES: Final = 2000
_SUFFIXES: Final = (".js", ".mjs", ".cjs", ".ts", ".mts", ".json")
_PYTHON_SUFFIXES: Final = (".py",)
_LEFT_OUT: Final = frozenset(
    {"node_modules", "site-packages", "test", "tests", "__pycache__", "venv", "dist", "package-lock.json"}
)


def gather(directory: Path, steps: Sequence[CodeStep]) -> dict[str, bytes]:
    """The sources by their path relative to `directory`, with `/`. `DefinitionError` lists all that cannot be taken in."""
    root = directory.resolve()
    problems: list[Problem] = []
    sources: dict[str, bytes] = {}
    for step in (step for step in steps if step.file):
        try:
            sources[inside(root, step.file)] = _read(root / step.file)
        except (OSError, ValueError) as error:
            problems.append(_problem(step, error))
    if problems:
        raise DefinitionError(problems)
    total = 0
    in_python = any(language_of(step) == "python" for step in steps)
    suffixes = (*_SUFFIXES, *_PYTHON_SUFFIXES) if in_python else _SUFFIXES
    for path in _walk(root, suffixes):
        name = path.relative_to(root).as_posix()
        if name not in sources:
            sources[name] = path.read_bytes()
        total += len(sources[name])
        if len(sources) > MOST_FILES or total > MOST_BYTES:
            raise _too_much(root)
    return dict(sorted(sources.items()))


def inside(root: Path, file: str) -> str:
    """The normal form of `file`, relative to `root`. `ValueError` if it, or what it links to, is outside."""
    name = os.path.normpath(file)
    if not file or "\0" in file or Path(file).is_absolute() or name.startswith("..") or name == ".":
        raise ValueError(f"{file!r} is outside the integration's directory: copy it inside")
    if not (root / name).resolve().is_relative_to(root):
        raise ValueError(f"{file!r} is a link that leads outside the integration's directory: copy the file inside")
    return Path(name).as_posix()


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(LARGEST_BYTES + 1)
    if len(content) > LARGEST_BYTES:
        raise ValueError(f"it is larger than {LARGEST_BYTES} bytes: make a package of what is not yours")
    return content


def _walk(directory: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    with os.scandir(directory) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith(".") or entry.name in _LEFT_OUT:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(directory / entry.name, suffixes)
            elif entry.name.endswith(suffixes) and entry.is_file() and _is_within(entry, directory):
                yield directory / entry.name


def _is_within(entry: os.DirEntry[str], directory: Path) -> bool:
    """Small enough, and no link to elsewhere: a link may lead to a neighbour, for it is copied as what it is."""
    if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(directory):
        return False
    return entry.stat().st_size <= LARGEST_BYTES


def _problem(step: CodeStep, error: OSError | ValueError) -> Problem:
    why = f"{step.file!r} cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
    place = step.position
    return Problem(
        message=f"step {step.id!r}: {why}",
        file=place.file if place else "",
        line=place.line if place else 0,
        column=place.column if place else 0,
    )


def _too_much(root: Path) -> DefinitionError:
    message = f"the integration's directory holds more than {MOST_FILES} source files or {MOST_BYTES // 2**20} MB"
    hint = "move what its code steps do not need elsewhere, or give it a directory of its own"
    return DefinitionError([Problem(message=message, file=root.name, hint=hint)])
