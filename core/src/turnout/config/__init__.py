"""Settings: `turnout.toml`, its environments layered over the default, read once into one frozen object."""

from turnout.config.reading import FILE_NAME, find_project, load_settings
from turnout.config.schema import SETTINGS
from turnout.config.settings import (
    LONGEST_DRAIN_S,
    JournalMode,
    LimitSettings,
    PluginSettings,
    ProjectSettings,
    QueueSettings,
    RetentionSettings,
    RunnerSettings,
    Settings,
    StorageSettings,
    StoresSettings,
    TelemetrySettings,
)
from turnout.config.shapes import Setting

__all__ = [
    "FILE_NAME",
    "LONGEST_DRAIN_S",
    "SETTINGS",
    "JournalMode",
    "LimitSettings",
    "PluginSettings",
    "ProjectSettings",
    "QueueSettings",
    "RetentionSettings",
    "RunnerSettings",
    "Setting",
    "Settings",
    "StorageSettings",
    "StoresSettings",
    "TelemetrySettings",
    "find_project",
    "load_settings",
]
