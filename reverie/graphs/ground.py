"""Grounding: the facts around a question, found by meaning, within a token budget."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reverie.graphs.records import Fact

if TYPE_CHECKING:
    from reverie.graphs.context import Context
    from reverie.graphs.resources import Resources
    from reverie.knowledge.graph.store import Match

# Facts much less similar than the best are about something else, and a small model copies
# whatever it is shown.
_MARGIN = 0.15

# A fact in a prompt costs about one token per this many bytes of UTF-8, arrows included. Bytes,
# since a tokenizer made for English splits other scripts into almost single characters.
_BYTES_PER_TOKEN = 3


async def find_facts(question: str, resources: Resources, context: Context) -> list[Fact]:
    """At most twice ``max_facts`` facts, best first: what branches sample from."""
    if context.max_facts == 0:
        return []
    embedder = await resources.embedder()
    store = await resources.facts()
    vector = (await embedder.embed([question]))[0]
    found = await store.similar(vector, limit=2 * context.max_facts, minimum=context.min_similarity)
    return [_fact(match) for match in found if match.similarity >= found[0].similarity - _MARGIN]


def facts_for_branch(facts: Sequence[Fact], context: Context, branch: int, seed: int) -> list[Fact]:
    """The facts that a branch sees, best last: a model heeds most what it has just read.

    One branch per expert sees the best facts; further branches see another sample, the best fact
    always in it, so that a repeated expert does not dream the same dream.
    """
    chosen = list(facts[: context.max_facts])
    if branch >= len(context.experts) and len(facts) > 2:
        others = list(facts[1:])
        random.Random(f"{seed}:{branch}").shuffle(others)  # noqa: S311  # sampling, no secret
        chosen = sorted(
            [facts[0], *others[: max(1, context.max_facts - 1)]],
            key=lambda fact: -fact["similarity"],
        )
    return within(chosen, context.fact_tokens)[::-1]


def within(facts: Sequence[Fact], tokens: int) -> list[Fact]:
    """As many facts, best first, as fit into the token budget."""
    kept: list[Fact] = []
    room = tokens * _BYTES_PER_TOKEN
    for fact in facts:
        text = f"- {fact['what']} -> {fact['action']} -> {fact['result']}\n"
        room -= len(text.encode("utf-8", "replace"))
        if room < 0:
            break
        kept.append(fact)
    return kept


def _fact(match: Match) -> Fact:
    triplet = match.triplet
    return {
        "id": match.id,
        "what": triplet.what,
        "action": triplet.action,
        "result": triplet.result,
        "similarity": round(match.similarity, 4),
        "source": triplet.source,
    }
