"""One typed Settings: defaults < YAML file < environment (``REVERIE_...``) < command line."""

from reverie.settings.layers import Option
from reverie.settings.load import Loaded, load_settings
from reverie.settings.schema import (
    BackendSettings,
    BudgetSettings,
    DreamSettings,
    EmbedderSettings,
    GroundSettings,
    ModelSettings,
    PreviewSettings,
    ReasonSettings,
    RuntimeSettings,
    ServerSettings,
    Settings,
    VllmSettings,
)

__all__ = [
    "BackendSettings",
    "BudgetSettings",
    "DreamSettings",
    "EmbedderSettings",
    "GroundSettings",
    "Loaded",
    "ModelSettings",
    "Option",
    "PreviewSettings",
    "ReasonSettings",
    "RuntimeSettings",
    "ServerSettings",
    "Settings",
    "VllmSettings",
    "load_settings",
]
