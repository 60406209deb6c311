"""The strategies, one file each. Adding one is adding a file that registers a builder; packages of
one's own add theirs through an entry point (``registry``).
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import entry_points

from reverie.errors import ConfigError
from reverie.graphs.strategies.registry import ENTRY_POINTS, Strategy, registered

__all__ = ["Strategy", "known_strategies", "require_strategy"]

_RESERVED = frozenset({"auto", "recall", "select", "assess", "shape", "answer", "learn"})
"""Names that mean something else: nodes of the reason graph, and the learned choice."""


@functools.cache
def known_strategies() -> Mapping[str, Strategy]:
    """Every strategy by name, in the order of their cost.

    Raises ConfigError for a package whose strategies cannot be used: it cannot be imported, takes a
    name that is taken, or contains itself.
    """
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            entry.load()
        except Exception as error:
            raise ConfigError(
                f"the strategies of {entry.value} cannot be loaded: {type(error).__name__}: "
                f"{error}",
                hint=f"mend or uninstall {entry.dist.name if entry.dist else entry.name}",
            ) from error
    known = {s.name: s for s in sorted(registered(), key=lambda s: (s.cost, s.name))}
    check_strategies(known)
    return known


def check_strategies(known: Mapping[str, Strategy]) -> None:
    """Raises ConfigError for strategies that cannot work: a reserved name, or one that runs an
    unknown one or, however indirectly, itself.
    """
    for one in known.values():
        if one.name in _RESERVED or not one.name.isidentifier():
            raise ConfigError(
                f"no strategy can be called {one.name!r}",
                hint="take another name, of letters, digits and underscores",
            )
        for used in sorted(one.uses - known.keys()):
            raise ConfigError(
                f"the strategy {one.name} runs {used!r}, which does not exist",
                hint="install the package that has it, or take it out of uses",
            )
    try:
        TopologicalSorter({s.name: s.uses for s in known.values()}).prepare()
    except CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        raise ConfigError(
            f"these strategies would run each other without end: {circle}",
            hint="take one of them out of the other's uses",
        ) from None


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
