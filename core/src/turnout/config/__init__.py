"""Settings: `turnout.toml`, its environments layered over the default, read once into one frozen object."""

from turnout.config.api import ApiSettings, Authentication
from turnout.config.explaining import EffectiveSetting, default_text, effective_settings
from turnout.config.logs import LOG_SOURCES, LogSettings
from turnout.config.oauth import OAuthClientSettings, OAuthSettings
from turnout.config.placement import ServiceSettings
from turnout.config.readers import LONGEST_DRAIN_S
from turnout.config.reading import FILE_NAME, find_project, load_settings
from turnout.config.schema import SETTINGS
from turnout.config.settings import (
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
    UnreadSettings,
)
from turnout.config.shapes import Setting

__all__ = [
    "FILE_NAME",
    "LOG_SOURCES",
    "LONGEST_DRAIN_S",
    "SETTINGS",
    "ApiSettings",
    "Authentication",
    "EffectiveSetting",
    "JournalMode",
    "LimitSettings",
    "LogSettings",
    "OAuthClientSettings",
    "OAuthSettings",
    "PluginSettings",
    "ProjectSettings",
    "QueueSettings",
    "RetentionSettings",
    "RunnerSettings",
    "ServiceSettings",
    "Setting",
    "Settings",
    "StorageSettings",
    "StoresSettings",
    "TelemetrySettings",
    "UnreadSettings",
    "default_text",
    "effective_settings",
    "find_project",
    "load_settings",
]
