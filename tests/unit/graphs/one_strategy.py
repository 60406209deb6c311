"""One strategy's graph by itself, over the scripted resources."""

from __future__ import annotations

import importlib
import time
from typing import Any

from reverie.graphs.context import Context
from tests.unit.conftest import QUESTION, Ran, ScriptedResources

RUN = "3f9c02ab17de"


def compiled(name: str, checkpointer: Any = None) -> Any:
    """The strategy's graph, not through the registry: it works whatever else is registered."""
    module = importlib.import_module(f"reverie.graphs.strategies.{name}")
    return module.build().compile(checkpointer=checkpointer, name=name)


async def run_strategy(
    resources: ScriptedResources,
    name: str,
    question: str = QUESTION,
    *,
    graph: Any = None,
    given: Any = None,
    **context: Any,
) -> Ran:
    """Run it to its end or to an interrupt. ``context`` are fields of Context; ``given`` is what to
    go on with instead of the question.
    """
    ran = Ran()
    state = {"question": question, "run_id": RUN, "started": time.time(), "ledger": []}
    stream = (graph or compiled(name)).astream(
        {**state, "notices": []} if given is None else given,
        {"configurable": {"thread_id": RUN}, "recursion_limit": 64},
        context=Context(resources=resources.key, **{"min_similarity": 0.2, **context}),
        stream_mode=["custom", "values", "updates"],
        version="v2",
    )
    async for part in stream:
        if part["type"] == "custom":
            ran.events.append(part["data"])
        elif part["type"] == "updates":
            ran.nodes += part["data"]
        else:
            ran.state = part["data"]
    return ran
