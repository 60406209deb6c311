"""One typed Settings: defaults < YAML file < environment (``REVERIE_...``) < command line."""

from reverie.settings.knowledge import (
    ChromaSettings,
    IngestSettings,
    MemorySettings,
    Neo4jSettings,
    SearchSettings,
)
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
    "ChromaSettings",
    "DreamSettings",
    "EmbedderSettings",
    "GroundSettings",
    "IngestSettings",
    "Loaded",
    "MemorySettings",
    "ModelSettings",
    "Neo4jSettings",
    "Option",
    "PreviewSettings",
    "ReasonSettings",
    "RuntimeSettings",
    "SearchSettings",
    "ServerSettings",
    "Settings",
    "VllmSettings",
    "load_settings",
]
