"""How a strategy makes itself known: by decorator, also in another package.

A package of one's own names its modules under the entry point group ``reverie.strategies``; each is
imported, and what it decorates is registered.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langgraph.graph import StateGraph

ENTRY_POINTS = "reverie.strategies"

Builder = Callable[[], "StateGraph[Any, Any, Any, Any]"]

_strategies: dict[str, Strategy] = {}


@dataclass(frozen=True, slots=True)
class Strategy:
    """One way to answer: a builder of a graph from StrategyState to an Attempt."""

    name: str
    build: Builder
    needs: frozenset[str]
    """What it works with beside the model: ``facts``, ``tools``, ``attempts``."""
    cost: int
    """Tokens that it typically takes for one question, prompts included, until it was measured."""
    summary: str
    uses: frozenset[str]
    """The strategies that it runs within itself."""


def strategy(
    name: str,
    *,
    cost: int,
    summary: str,
    needs: Collection[str] = (),
    uses: Collection[str] = (),
) -> Callable[[Builder], Builder]:
    """Register the decorated builder as the strategy ``name``."""

    def register(build: Builder) -> Builder:
        if name in _strategies and _strategies[name].build is not build:
            raise ValueError(f"two strategies are called {name!r}")
        _strategies[name] = Strategy(name, build, frozenset(needs), cost, summary, frozenset(uses))
        return build

    return register


def registered() -> Collection[Strategy]:
    """Every strategy whose module has been imported."""
    return _strategies.values()
