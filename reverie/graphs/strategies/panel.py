"""Panel: several agents of different roles on one question. The graph is graphs/consensus.py."""

from __future__ import annotations

from langgraph.graph import StateGraph

from reverie.graphs import consensus
from reverie.graphs.consensus import PanelState
from reverie.graphs.context import Context
from reverie.graphs.strategies.registry import strategy


@strategy(consensus.NAME, cost=1050, summary="agents of different roles, who vote or discuss")
def build() -> StateGraph[PanelState, Context, PanelState, PanelState]:
    """The consensus graph."""
    return consensus.build()
