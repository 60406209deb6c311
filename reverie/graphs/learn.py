"""Learning: store the run, so that a score can teach from it, and what was dreamed, as hypotheses.

Nothing moves here. A run is pending until feedback scores it; a dreamed triplet is a hypothesis
until an outcome verifies it.
"""

from __future__ import annotations

from typing import Any

from langgraph.runtime import Runtime

from reverie.errors import KnowledgeUnavailable
from reverie.graphs.budget import ledger_of
from reverie.graphs.context import Context
from reverie.graphs.records import Dream
from reverie.graphs.resources import Resources, find_resources
from reverie.graphs.state import ReasonState
from reverie.knowledge.graph.store import Triplet, embedding_text
from reverie.knowledge.strategies import Run


async def learn(state: ReasonState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Store the run and its dreams. A store that cannot be written does not take the answer away:
    it becomes a notice.
    """
    context = runtime.context
    if not context.remember:
        return {}
    resources = find_resources(context.resources)
    try:
        await _record_run(state, resources, context)
        await _keep_hypotheses(state, resources, context)
    except KnowledgeUnavailable as error:
        notice = f"this run was not stored, so it cannot be scored: {error}"
        runtime.stream_writer({"type": "notice", "text": notice})
        return {"notices": [notice]}
    return {}


async def _record_run(state: ReasonState, resources: Resources, context: Context) -> None:
    spent = ledger_of(state, context).spent
    vector = (await (await resources.embedder()).embed([state["question"]]))[0]
    run = Run(
        run_id=state["run_id"],
        question=state["question"],
        strategy=state["answer"]["strategy"],
        propensity=state["choice"]["propensity"],
        answer=state["answer"]["text"],
        tokens_in=spent["tokens_in"],
        tokens_out=spent["tokens_out"],
        calls=spent["calls"],
        seconds=spent["seconds"],
    )
    await (await resources.memory()).record(run, vector)


async def _keep_hypotheses(state: ReasonState, resources: Resources, context: Context) -> None:
    dreamed = [
        Triplet(
            what=triplet["what"],
            action=triplet["action"],
            result=triplet["result"],
            status="hypothesis",
            source="dream",
            run=state["run_id"],
            branch=dream["branch"],
            expert=dream["expert"],
            model=_dreamer(dream, context),
            confidence=dream["confidence"],
        )
        for attempt in state["attempts"]
        for dream in attempt["dreams"]
        for triplet in dream["triplets"]
        if triplet["origin"] == "dreamed"
    ]
    if dreamed:
        embedder = await resources.embedder()
        vectors = await embedder.embed([embedding_text(t) for t in dreamed])
        await (await resources.facts()).upsert(dreamed, vectors)


def _dreamer(dream: Dream, context: Context) -> str:
    """The model that dreamed it."""
    answered = [use["name"] for use in dream["usage"]["backends"] if use["calls"]]
    return answered[-1] if answered else context.model
