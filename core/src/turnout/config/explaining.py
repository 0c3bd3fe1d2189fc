"""What each setting comes to, and where that was said: for people who ask why."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from turnout.config.reading import ENVIRONMENTS, FILE_NAME, key_lines, load_settings, parse_toml, read_toml
from turnout.config.schema import SCHEMA
from turnout.config.settings import Settings
from turnout.config.shapes import Leaf, Named, Section
from turnout.model.durability import Durability

__all__ = ["EffectiveSetting", "default_text", "effective_settings"]

HIDDEN: Final = "***"
_REFERENCE: Final = re.compile(r"[a-z][a-z0-9+-]*:[^\s/]\S*")

_Table = Mapping[str, Any]
_Path = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveSetting:
    """`value` is as written, or the default as one would write it. `environment` is the one whose table says it, empty
    where the file's own does; `line` is its line, None for a default."""

    name: str
    value: str
    line: int | None = None
    environment: str = ""

    @property
    def origin(self) -> str:
        """Where it comes from: `default`, `turnout.toml:3`, `turnout.toml:12 (production)`."""
        if self.line is None:
            return "default"
        return f"{FILE_NAME}:{self.line}" + (f" ({self.environment})" if self.environment else "")


def effective_settings(root: Path, *, environment: str | None = None) -> tuple[EffectiveSetting, ...]:
    """Every setting of the project in `root`, in the order of the reference, those of named tables where they are written.
    `SettingsError` as `load_settings`. What may be a secret is shown as `***`; references to secrets are shown."""
    settings = load_settings(root, environment=environment)
    if settings.file is None:
        return tuple(_Explained(Settings(root=root), {}, {}, {}).all())
    written = read_toml(settings.file)
    document = parse_toml(settings.file, written)
    overlay = document.get(ENVIRONMENTS, {}).get(settings.environment, {}) if settings.environment else {}
    return tuple(_Explained(settings, document, overlay, dict(key_lines(written))).all())


def default_text(value: Any) -> str:
    """A default as one would write it; empty where there is none."""
    match value:
        case "" | () | {}:
            return ""
        case None:
            return "unlimited"
        case Durability():
            return "full" if value is Durability.HOST else "process"
        case Enum():
            return str(value.value)
        case bool():
            return str(value).lower()
        case int() if value >= 1000_000:
            return f"{value // 1000_000} MB"
        case _:
            return str(value)


class _Explained:
    def __init__(self, settings: Settings, document: _Table, overlay: _Table, lines: Mapping[_Path, int]) -> None:
        self._environment = settings.environment
        self._document = document
        self._overlay = overlay
        self._lines = lines

    def all(self) -> Iterator[EffectiveSetting]:
        yield from self._section(SCHEMA, ())

    def _section(self, section: Section, path: _Path) -> Iterator[EffectiveSetting]:
        defaults = None if section.make in (Settings, dict) else section.make()
        for key, inner in section.keys.items():
            where = (*path, key)
            match inner:
                case Section():
                    yield from self._section(inner, where)
                case Named():
                    yield from self._named(inner, where)
                case Leaf():
                    default = None if defaults is None else getattr(defaults, inner.field)
                    yield self._leaf(inner, where, default_text(default))

    def _named(self, named: Named, path: _Path) -> Iterator[EffectiveSetting]:
        for name in {**_at(self._document, path), **_at(self._overlay, path)}:
            where = (*path, name)
            if named.section is not None:
                yield from self._section(named.section, where)
                continue
            for key in {**_at(self._document, where), **_at(self._overlay, where)}:
                yield self._leaf(Leaf(field="", read=str, description="", private=True), (*where, key), "")

    def _leaf(self, leaf: Leaf, path: _Path, default: str) -> EffectiveSetting:
        name = ".".join(path)
        for table, environment in ((self._overlay, self._environment), (self._document, "")):
            holder = _at(table, path[:-1])
            if path[-1] in holder:
                shown = _shown(holder[path[-1]], private=leaf.private)
                return EffectiveSetting(
                    name=name, value=shown, line=self._line(path, environment), environment=environment
                )
        return EffectiveSetting(name=name, value=default)

    def _line(self, path: _Path, environment: str) -> int:
        """The line of the key, or of the nearest table around it."""
        full = (ENVIRONMENTS, environment, *path) if environment else path
        while full and full not in self._lines:
            full = full[:-1]
        return self._lines.get(full, 1)


def _at(table: _Table, path: _Path) -> _Table:
    for key in path:
        inner = table.get(key, {})
        if not isinstance(inner, Mapping):
            return {}
        table = inner
    return table


def _shown(value: Any, *, private: bool) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case list():
            return ", ".join(_shown(item, private=private) for item in value)
        case Mapping():
            return ", ".join(f"{key} = {_shown(item, private=private)}" for key, item in value.items())
    text = str(value)
    return text if not private or _REFERENCE.fullmatch(text) else HIDDEN
