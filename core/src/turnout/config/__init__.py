"""Settings: `turnout.toml`, its environments layered over the default, read once into one frozen object."""

from turnout.config.alerts import AlertKind, AlertRule, AlertSettings, QuietPeriod, Resolve, Severity
from turnout.config.api import ApiSettings, Authentication
from turnout.config.explaining import EffectiveSetting, default_text, effective_settings
from turnout.config.logs import LOG_SOURCES, LogSettings
from turnout.config.metrics import MetricSettings
from turnout.config.oauth import OAuthClientSettings, OAuthSettings
from turnout.config.placement import ServiceSettings
from turnout.config.readers import LONGEST_DRAIN_S
from turnout.config.reading import FILE_NAME, find_project, line_of, load_settings
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
    "AlertKind",
    "AlertRule",
    "AlertSettings",
    "ApiSettings",
    "Authentication",
    "EffectiveSetting",
    "JournalMode",
    "LimitSettings",
    "LogSettings",
    "MetricSettings",
    "OAuthClientSettings",
    "OAuthSettings",
    "PluginSettings",
    "ProjectSettings",
    "QueueSettings",
    "QuietPeriod",
    "Resolve",
    "RetentionSettings",
    "RunnerSettings",
    "ServiceSettings",
    "Setting",
    "Settings",
    "Severity",
    "StorageSettings",
    "StoresSettings",
    "TelemetrySettings",
    "UnreadSettings",
    "default_text",
    "effective_settings",
    "find_project",
    "line_of",
    "load_settings",
]
