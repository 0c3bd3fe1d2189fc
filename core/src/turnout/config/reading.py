"""Reading `turnout.toml`: every fault found at once, each with its line, what is expected and the nearest right name."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from turnout.config.alerts import alert_faults
from turnout.config.schema import SCHEMA
from turnout.config.settings import Settings
from turnout.config.shapes import Leaf, Named, Section
from turnout.errors import SettingsError

__all__ = [
    "ENVIRONMENTS",
    "FILE_NAME",
    "find_project",
    "key_lines",
    "line_of",
    "load_settings",
    "parse_toml",
    "read_toml",
]

FILE_NAME = "turnout.toml"
ENVIRONMENTS = "environments"
_LARGEST_BYTES = 1024 * 1024
_Table = Mapping[str, Any]
_Path = tuple[str, ...]


def find_project(start: Path) -> Path:
    """The nearest directory that holds a `turnout.toml`, upwards from `start` (a file or a directory); where there is
    none, `start`'s own directory. Absolute."""
    start = start.resolve()
    directory = start if start.is_dir() else start.parent
    for candidate in (directory, *directory.parents):
        if (candidate / FILE_NAME).is_file():
            return candidate
    return directory


def load_settings(root: Path, *, environment: str | None = None) -> Settings:
    """The settings of the project in `root`, in an environment: `environment`, else the variable TURNOUT_ENV, else none.

    Without a `turnout.toml` these are the defaults. `SettingsError` lists every fault of the file, those of other
    environments included, one a line.
    """
    root = root.resolve()
    file = root / FILE_NAME
    name = environment if environment is not None else os.environ.get("TURNOUT_ENV", "")
    if not file.exists():
        if name:
            raise SettingsError(
                f"environment {name!r}: there is no {file} that could define it", setting=f"{ENVIRONMENTS}.{name}"
            )
        return Settings(root=root)
    text = read_toml(file)
    document = parse_toml(file, text)
    return _Reader(file, text).settings(root, document, name)


def read_toml(file: Path) -> str:
    try:
        if file.stat().st_size > _LARGEST_BYTES:
            raise SettingsError(f"{file}: larger than {_LARGEST_BYTES} bytes; settings are short")
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file}: not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {error.strerror}") from error


def parse_toml(file: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        place = re.search(r" \(at line (\d+), column (\d+)\)$", message)
        where = f"{file}:{place[1]}:{place[2]}" if place else str(file)
        raise SettingsError(f"{where}: not TOML: {message[: place.start()] if place else message}") from error
    except RecursionError as error:
        raise SettingsError(f"{file}: nested too deeply") from error


class _Reader:
    def __init__(self, file: Path, text: str) -> None:
        self._file = file
        self._lines = dict(key_lines(text))
        self._problems: list[tuple[_Path, str]] = []

    def settings(self, root: Path, document: _Table, environment: str) -> Settings:
        """Check the default and every environment, then read the chosen one."""
        environments = self._environments(document)
        default = {key: value for key, value in document.items() if key != ENVIRONMENTS}
        self._check(SCHEMA, default, ())
        for name, overlay in environments.items():
            self._check(SCHEMA, overlay, (ENVIRONMENTS, name))
        if environment and environment not in environments:
            near = _near(environment, environments)
            known = ", ".join(sorted(environments)) or "none"
            self._problems.append(((ENVIRONMENTS,), f"no environment {environment!r}: {near or f'there are {known}'}"))
        self._refuse()
        merged = _layered(default, environments.get(environment, {}))
        settings = Settings(root=root, file=self._file, environment=environment, **_made(SCHEMA, merged))
        for path, message in alert_faults(settings.alerts, merged.get("alerts", {})):
            here = (ENVIRONMENTS, environment, "alerts", *path)
            self._problems.append((here if here in self._lines else ("alerts", *path), message))
        self._refuse()
        return settings

    def _environments(self, document: _Table) -> Mapping[str, _Table]:
        given = document.get(ENVIRONMENTS, {})
        if not isinstance(given, dict):
            self._problems.append(((ENVIRONMENTS,), "tables are expected, [environments.production]"))
            return {}
        for name in [name for name, overlay in given.items() if not isinstance(overlay, dict)]:
            self._problems.append(((ENVIRONMENTS, name), f"a table is expected, [environments.{name}]"))
        return {name: overlay for name, overlay in given.items() if isinstance(overlay, dict)}

    def _check(self, section: Section, given: object, path: _Path) -> None:
        if not isinstance(given, dict):
            self._problems.append((path, f"a table is expected, [{'.'.join(path)}]"))
            return
        for key, value in given.items():
            inner = section.keys.get(key)
            where = (*path, key)
            match inner:
                case None:
                    what = "setting" if len(where) > 1 else "table"
                    near = _near(key, section.keys) or f"there are {', '.join(section.keys)}"
                    self._problems.append((where, f"unknown {what} {key!r}: {near}"))
                case Section():
                    self._check(inner, value, where)
                case Named():
                    self._check_named(inner, value, where)
                case Leaf():
                    self._check_leaf(inner, value, where)

    def _check_named(self, named: Named, given: object, path: _Path) -> None:
        if not isinstance(given, dict):
            self._problems.append((path, f"tables are expected, [{'.'.join(path)}.NAME]"))
            return
        for name, table in given.items():
            if named.section is not None:
                self._check(named.section, table, (*path, name))
            elif not isinstance(table, dict):
                self._problems.append(((*path, name), f"a table is expected, [{'.'.join((*path, name))}]"))

    def _check_leaf(self, leaf: Leaf, value: object, where: _Path) -> None:
        try:
            leaf.read(value)
        except ValueError as error:
            self._problems.append((where, str(error) if leaf.private else f"{error}, not {_shown(value)}"))

    def _refuse(self) -> None:
        if not self._problems:
            return
        lines = sorted((self._line(path), ".".join(path), message) for path, message in self._problems)
        raise SettingsError(
            "\n".join(f"{self._file}:{line}: {setting}: {message}" for line, setting, message in lines),
            setting=lines[0][1],
        )

    def _line(self, path: _Path) -> int:
        """The line of the key, or of the nearest table around it, of which inline tables have but one."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)


def _made(section: Section, given: _Table) -> dict[str, Any]:
    """The arguments of a section's class from tables that were checked."""
    made = {}
    for key, value in given.items():
        match section.keys[key]:
            case Section() as inner:
                made[key] = inner.make(**_made(inner, value))
            case Named() as named:
                made[named.field] = {name: _made_named(named.section, table) for name, table in value.items()}
            case Leaf() as leaf:
                made[leaf.field] = leaf.read(value)
    return made


def _made_named(section: Section | None, table: _Table) -> Any:
    return dict(table) if section is None else section.make(**_made(section, table))


def _layered(default: _Table, overlay: _Table) -> dict[str, Any]:
    merged = dict(default)
    for key, value in overlay.items():
        both_tables = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _layered(merged[key], value) if both_tables else value
    return merged


def _near(name: str, names: Mapping[str, object] | Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {near[0]!r}?" if near else ""


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


_HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(#.*)?$")
_KEY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")


def line_of(file: Path, setting: str) -> int:
    """The line of a dotted setting, or of the nearest table around it; 1 where neither can be found."""
    path, lines = _parts(setting), dict(key_lines(read_toml(file)))
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def key_lines(text: str) -> Iterator[tuple[_Path, int]]:
    """Where tables and keys stand, which tomllib does not tell: good for error messages alone, since it would take
    what looks like a key inside a multi-line string for one. Keys inside inline tables are not found."""
    table: _Path = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = _parts(header[1])
            yield table, number
        elif key := _KEY.match(line):
            yield table + _parts(key[1]), number


def _parts(dotted: str) -> _Path:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
