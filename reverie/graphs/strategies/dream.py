"""Dream: several hypothetical branches in parallel, one arbiter. The graph is graphs/dream.py."""

from __future__ import annotations

from langgraph.graph import StateGraph

from reverie.graphs import dream
from reverie.graphs.context import Context
from reverie.graphs.state import DreamState
from reverie.graphs.strategies.registry import strategy


@strategy(
    dream.NAME,
    cost=2000,
    needs=("facts",),
    summary="ground, dream several futures in parallel, arbitrate",
)
def build() -> StateGraph[DreamState, Context, DreamState, DreamState]:
    """The dream graph."""
    return dream.build()
