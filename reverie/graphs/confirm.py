"""What was dreamed becomes a fact when the answer that follows from it turns out to be right.

Only the word of a verifier or of a person counts, never a confidence, and only for the dream that
won: others may have come to the same answer by steps that are wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from reverie.errors import ConfigError
from reverie.knowledge.graph.records import CAUSES, Batch, thing_id
from reverie.knowledge.graph.triplet import embedding_text, triplet_of

if TYPE_CHECKING:
    from reverie.graphs.records import Attempt, Dream
    from reverie.graphs.resources import Resources

CONFIRMED: Final = 0.9
"""The score from which on an answer is right beyond doubt. A fact grounds later answers, so it
takes more than an answer that is good enough.
"""

DREAMED: Final = "dream"
"""Who says what was dreamed."""

_Statement = tuple[str, str, str]


def winning_dream(attempt: Attempt) -> Dream | None:
    """The dream whose answer the attempt gave; None when it did not answer by a dream."""
    verdict = attempt["verdict"]
    if attempt["status"] != "ok" or verdict is None or verdict["winner"] is None:
        return None
    return next((d for d in attempt["dreams"] if d["branch"] == verdict["winner"]), None)


async def settle(resources: Resources, run_id: str, score: float) -> int:
    """Make facts of the hypotheses from which a run's answer followed, if ``score`` confirms it;
    make hypotheses of them again if it does not. Returns how many triplets changed.

    The registry of runs says what they are; a run that it does not know changes nothing. Raises
    KnowledgeUnavailable.
    """
    said = await _winning_statements(resources, run_id)
    if not said:
        return 0
    store = await resources.facts()
    right = score >= CONFIRMED
    held = await store.edges(
        run=run_id,
        source=DREAMED,
        relations=(CAUSES,),
        statuses=("hypothesis",) if right else ("fact",),
    )
    found = [edge for edge in held if _statement(edge.start, edge.text, edge.end) in said]
    if not found:
        return 0
    if right:
        return await store.confirm([edge.id for edge in found])
    # First written, then ended, so that a crash in between loses neither.
    doubted = [replace(edge, status="hypothesis", id="", valid_from=None) for edge in found]
    embedder = await resources.embedder()
    vectors = await embedder.embed([embedding_text(triplet_of(edge)) for edge in doubted])
    await store.write(Batch(edges=doubted, edge_vectors=dict(enumerate(vectors))))
    return await store.invalidate([edge.id for edge in found])


async def _winning_statements(resources: Resources, run_id: str) -> set[_Statement]:
    """What was dreamed in the winning dreams that gave a run's answer."""
    result = await _result_of(resources, run_id)
    if result is None:
        return set()
    attempts: Sequence[Attempt] = result["attempts"]
    won = [winning_dream(one) for one in attempts if one["answer"] == result["answer"]]
    return {
        _statement(triplet["what"], triplet["action"], triplet["result"])
        for dream in won
        if dream is not None
        for triplet in dream["triplets"]
        if triplet["origin"] == "dreamed"
    }


async def _result_of(resources: Resources, run_id: str) -> dict[str, Any] | None:
    """The stored result of a run; None when there is none, as of one in Studio."""
    from reverie.knowledge.runs import open_runs

    home, store = resources.settings.home, None
    registry = resources.registry
    if registry is None:
        if not await asyncio.to_thread((home / "runs.sqlite").exists):
            return None
        store = await asyncio.to_thread(open_runs, home)
        registry = store.registry
    try:
        return (await registry.find(run_id)).result
    except ConfigError:  # it is not there
        return None
    finally:
        if store is not None:
            await store.close()


def _statement(what: str, action: str, result: str) -> _Statement:
    return thing_id(what), thing_id(action), thing_id(result)
