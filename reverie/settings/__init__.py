"""One typed Settings: defaults < YAML file < environment (``REVERIE_...``) < command line."""

from reverie.settings.layers import Option
from reverie.settings.load import Loaded, load_settings
from reverie.settings.schema import (
    BudgetSettings,
    DreamSettings,
    GroundSettings,
    ModelSettings,
    ReasonSettings,
    Settings,
)

__all__ = [
    "BudgetSettings",
    "DreamSettings",
    "GroundSettings",
    "Loaded",
    "ModelSettings",
    "Option",
    "ReasonSettings",
    "Settings",
    "load_settings",
]
