"""What LangGraph Studio is shown: the reason graph, and every strategy as a graph of its own.

Studio looks graphs up among a module's variables, so the strategies are put there, under their
names, when this is imported: those of other packages too.
"""

from __future__ import annotations

from typing import Any

from reverie.graphs.standalone import standalone
from reverie.graphs.strategies import known_strategies


def langgraph_config() -> dict[str, Any]:
    """The ``langgraph.json`` of what is installed."""
    graphs = {
        "reason": {
            "path": "reverie.graphs.reason:graph",
            "description": "Answer a question: recall, select a strategy, assess, learn.",
        }
    }
    for name, strategy in known_strategies().items():
        summary = strategy.summary
        graphs[name] = {
            "path": f"{__name__}:{name}",
            "description": f"{summary[:1].upper()}{summary[1:]}.",
        }
    return {"dependencies": ["."], "graphs": graphs}


globals().update({name: standalone(name) for name in known_strategies()})
