"""Entity resolution: which things of a graph are the same under several names.

What is found is written as ``same_as`` edges of the source ``resolution``; no node is changed, so
ending an edge, or deleting the source, undoes it. One that was ended is not made again.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from reverie.knowledge.extract.same_name import Name, block_keys, compared, name_of
from reverie.knowledge.graph.records import RESOLVED, SAME_AS, Batch, Edge
from reverie.knowledge.graph.store import GraphStore
from reverie.models.embedder import Embedder

MINIMUM_SIMILARITY: Final = 0.9
"""Cosine that names have when one word is spelled otherwise. Chosen on half of WordNet's nouns for
MiniLM; ``python -m reverie.evals.bench resolution`` measures it on the other half.
"""
LETTERS_CONFIDENCE: Final = 0.88
SPELLING_CONFIDENCE: Final = 0.94
"""The shares that were right there."""

_THINGS = frozenset({"entity", "action", "outcome"})
_MOST_CHARACTERS = 80
"""Longer ones are sentences."""
_MOST_IN_BLOCK = 200
"""Names that differ in one word of the same first letter: beyond that it is a series, such as
"family A...", and no misspelling.
"""
_EDGES_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Resolution:
    """What was found: names looked at, pairs compared, and the edges that were written."""

    names: int
    compared: int
    edges: Sequence[Edge]


@dataclass(frozen=True, slots=True)
class _Known:
    """The things of a graph: by id their label, how many edges each has, and what is decided."""

    labels: Mapping[str, str]
    degrees: Mapping[str, int]
    decided: Collection[frozenset[str]]


async def resolve_entities(
    store: GraphStore,
    embedder: Embedder | None = None,
    *,
    only: Collection[str] | None = None,
    minimum: float = MINIMUM_SIMILARITY,
) -> Resolution:
    """Finds things with the same letters ("e-mail", "Email"), as facts, and, with an ``embedder``,
    names of several words of which one is spelled otherwise ("Aram Kachaturian"), as hypotheses.
    With ``only`` (ids), pairs with one of these: what a new document brought.

    Reads every node once; linear but for blocks of at most 200 similar names. Raises what store and
    embedder raise; edges written by then stay.
    """
    known = await _known(store)
    chosen = None if only is None else set(only)
    same, maybe, looked = await asyncio.to_thread(_pairs, known, chosen)
    edges = [_edge(known, pair, spelled=False) for pair in same]
    if embedder is not None and maybe:
        texts = sorted({known.labels[one] for pair in maybe for one in pair})
        vectors = await embedder.embed(texts)
        at = {text: row for row, text in enumerate(texts)}
        for one, other in maybe:
            mine, others = vectors[at[known.labels[one]]], vectors[at[known.labels[other]]]
            if float(mine @ others) >= minimum:
                edges.append(_edge(known, (one, other), spelled=True))
    for start in range(0, len(edges), _EDGES_AT_ONCE):
        await store.write(Batch(edges=edges[start : start + _EDGES_AT_ONCE]))
    return Resolution(len(known.labels), looked, edges)


async def _known(store: GraphStore) -> _Known:
    labels: dict[str, str] = {}
    degrees: Counter[str] = Counter()
    decided: set[frozenset[str]] = set()
    async for page in store.pages():
        for node in page.nodes:
            if node.kind in _THINGS and len(node.label) <= _MOST_CHARACTERS:
                labels[node.id] = node.label
        for edge in page.edges:
            degrees[edge.start] += 1
            degrees[edge.end] += 1
            if edge.relation == SAME_AS:
                decided.add(frozenset((edge.start, edge.end)))
    return _Known(labels, degrees, decided)


_Pair = tuple[str, str]


def _pairs(known: _Known, only: set[str] | None) -> tuple[list[_Pair], list[_Pair], int]:
    """Pairs with the same letters, pairs that meaning has to decide, and how many were compared."""
    names: dict[str, Name] = {node: name_of(label) for node, label in known.labels.items()}
    blocks: dict[str, list[str]] = defaultdict(list)
    for node in sorted(names):
        for key in block_keys(names[node]):
            blocks[key].append(node)
    same: dict[_Pair, None] = {}
    maybe: dict[_Pair, None] = {}
    looked = 0
    for key, members in blocks.items():
        for one, other in _in_block(known, members, every=not key.startswith("=")):
            wanted = only is None or one in only or other in only
            if not wanted or frozenset((one, other)) in known.decided:
                continue
            looked += 1
            verdict = compared(names[one], names[other])
            if verdict == "letters":
                same.setdefault((one, other))
            elif verdict == "spelling":
                maybe.setdefault((one, other))
    return list(same), [pair for pair in maybe if pair not in same], looked


def _in_block(known: _Known, members: Sequence[str], *, every: bool) -> list[_Pair]:
    """The pairs to compare: all, or each with the one that has most edges. The latter is second."""
    ranked = sorted(members, key=lambda node: (-known.degrees.get(node, 0), len(node), node))
    if not every:
        return [(node, ranked[0]) for node in ranked[1:]]
    if len(ranked) > _MOST_IN_BLOCK:
        return []
    return [(node, better) for at, node in enumerate(ranked) for better in ranked[:at]]


def _edge(known: _Known, pair: _Pair, *, spelled: bool) -> Edge:
    start, end = pair
    return Edge(
        start,
        SAME_AS,
        end,
        text="spelled otherwise" if spelled else "the same letters",
        start_label=known.labels[start],
        end_label=known.labels[end],
        status="hypothesis" if spelled else "fact",
        source=RESOLVED,
        confidence=SPELLING_CONFIDENCE if spelled else LETTERS_CONFIDENCE,
    )
