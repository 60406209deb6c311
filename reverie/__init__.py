"""Reverie: reasoning with models that you serve yourself, as LangGraph state machines.

from reverie import Reasoner

with Reasoner() as reasoner:
print(reasoner.ask("What happens when you drop a ball?").answer)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reverie.agents.reasoner import Reasoner
    from reverie.agents.result import Result
    from reverie.errors import ReverieError
    from reverie.settings import BudgetSettings as Budget
    from reverie.settings import Settings, load_settings

# Loaded at first use (PEP 562): `reverie --help` must not wait for LangGraph.
_HOMES = {
    "Budget": ("reverie.settings", "BudgetSettings"),
    "Reasoner": ("reverie.agents.reasoner", "Reasoner"),
    "Result": ("reverie.agents.result", "Result"),
    "ReverieError": ("reverie.errors", "ReverieError"),
    "Settings": ("reverie.settings", "Settings"),
    "load_settings": ("reverie.settings", "load_settings"),
}

__all__ = ["Budget", "Reasoner", "Result", "ReverieError", "Settings", "load_settings"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        module, attribute = _HOMES[name]
        return getattr(importlib.import_module(module), attribute)
    raise AttributeError(f"module 'reverie' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
