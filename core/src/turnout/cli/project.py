"""The project that a command works on: its settings and its plugins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from turnout.errors import SettingsError

if TYPE_CHECKING:
    from turnout.config import Settings
    from turnout.plugins import Registry

__all__ = ["blocked_plugins", "load_project", "load_registry"]


def load_project(
    start: Path | None = None, *, environment: str | None = None, allow_unsafe_sandbox: bool = False
) -> Settings:
    """The settings of the project around `start`, or around the working directory. `SettingsError` as they have it.

    Where no `turnout.toml` is around, the working directory is the project: `turnout run examples/orders` and
    `turnout executions list` then mean the same `.turnout`. `allow_unsafe_sandbox` allows what the settings may not.
    """
    from turnout.config import FILE_NAME, find_project, load_settings

    root = find_project(start or Path.cwd())
    settings = load_settings(root if (root / FILE_NAME).is_file() else Path.cwd(), environment=environment)
    if not allow_unsafe_sandbox:
        return settings
    return replace(settings, runner=replace(settings.runner, allow_unsafe_sandbox=True))


def load_registry(settings: Settings) -> Registry:
    """The installed plugins, without those that the settings block."""
    from turnout.cli.program import RESERVED
    from turnout.plugins import load_plugins

    return load_plugins(settings, reserved_commands=RESERVED)


def blocked_plugins() -> tuple[str, ...]:
    """The plugins that the working directory's project blocks; none where its settings are wrong, since help and
    completion have to work there too."""
    try:
        return load_project().plugins.blocked
    except (SettingsError, OSError):
        return ()
