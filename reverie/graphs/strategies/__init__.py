"""The strategies, one file each. Adding one is adding a file that registers a builder."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from difflib import get_close_matches

from reverie.errors import ConfigError
from reverie.graphs.strategies.registry import Strategy, registered

__all__ = ["Strategy", "known_strategies", "require_strategy"]


@functools.cache
def known_strategies() -> Mapping[str, Strategy]:
    """Every strategy by name, in the order of their cost."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return {s.name: s for s in sorted(registered(), key=lambda s: (s.cost, s.name))}


def require_strategy(name: str) -> Strategy:
    """The strategy called ``name``. Raises ConfigError that names the nearest known one."""
    known = known_strategies()
    if name in known:
        return known[name]
    near = get_close_matches(name, known, n=1)
    raise ConfigError(
        f"there is no strategy called {name!r}",
        hint=(f"did you mean {near[0]}? " if near else "") + f"Known: auto, {', '.join(known)}",
    )
