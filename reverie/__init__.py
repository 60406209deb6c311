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
    from reverie.settings import Settings, load_settings

# Loaded at first use (PEP 562): `reverie --help` must not wait for LangGraph.
_HOMES = {
    "Reasoner": "reverie.agents.reasoner",
    "Result": "reverie.agents.result",
    "ReverieError": "reverie.errors",
    "Settings": "reverie.settings",
    "load_settings": "reverie.settings",
}

__all__ = ["Reasoner", "Result", "ReverieError", "Settings", "load_settings"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'reverie' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
