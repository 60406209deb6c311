"""Documents and the names that they share, as a graph to walk on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from reverie.knowledge.extract.mentions import mentions
from reverie.knowledge.graph.pagerank import WalkGraph
from reverie.knowledge.search.names import KnownNames, name_key, title_name
from reverie.knowledge.search.records import Document, Query, Ranked

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TITLE: Final = 3.0
"""How much more of a walk goes from a name to the documents with that title than to one that
mentions it."""

RESTART: Final = 0.3
"""The probability to return to the question at each step. From a document over a name to another
document are two steps, which about half of the walk takes, as in HippoRAG 2."""

QUESTION: Final = 0.5
"""The share of the restarts that goes to what the question names, not to what sources found."""


class DocumentGraph:
    """N documents and the names that connect them. Immutable; building it and walking on it block.

    Names are the documents' titles, and what ``mentions`` finds in them. A document is connected
    with each name that stands in it, weighted by how rare the name is
    (log(1 + N / documents that have it)), and with its title ``TITLE`` times as strongly. A name
    that only one document has leads nowhere and is left out; a question that names it begins at
    that document. So from a passage that names a film, a walk comes to the passage about that
    film, and to other passages that name it. Gutierrez et al. 2025 (HippoRAG 2, arXiv 2502.14802)
    walk on a graph that a language model extracts; here rules do, and no model is asked.
    """

    def __init__(self, documents: Sequence[Document], *, title: float = TITLE) -> None:
        """``title`` is the weight of a title beside that of a mention, above 0."""
        import numpy as np

        self._number = len(documents)
        own = [name_key(title_name(document.title)) for document in documents]
        self._known = KnownNames(title_name(d.title) for d in documents if d.title)
        inside = [
            self._names(document.text) - {name}
            for document, name in zip(documents, own, strict=True)
        ]
        titled = Counter(filter(None, own))
        holders = Counter(name for names in inside for name in names) + titled
        self._nodes: dict[str, int] = {}
        self._only: dict[str, int] = {}
        edges: list[tuple[int, int, float]] = []
        self._weights = {name: self._rarity(holders[name]) for name in holders}
        for place, (names, name) in enumerate(zip(inside, own, strict=True)):
            strengths = dict.fromkeys(sorted(names), 1.0) | ({name: title} if name else {})
            for one, strength in strengths.items():
                if holders[one] > 1:
                    edges.append((place, self._node(one), strength * self._weights[one]))
                else:
                    self._only[one] = place
        columns = list(zip(*edges, strict=True)) or [(), (), ()]
        self._graph = WalkGraph(
            np.asarray(columns[0], dtype=np.int64),
            np.asarray(columns[1], dtype=np.int64),
            np.asarray(columns[2], dtype=np.float64),
            self._number + len(self._nodes),
        )

    def walk(
        self,
        question: str,
        found: Sequence[Sequence[int]],
        *,
        restart: float = RESTART,
        share: float = QUESTION,
    ) -> NDArray[np.float64]:
        """The share of time that a walk from the question spends at each document, [N].

        ``found`` are lists of documents by their position, each best first; the walk restarts at
        them by 1 / rank, and with the probability ``share`` at the names in ``question``. All
        zeros where it can start nowhere.
        """
        import numpy as np

        hits = np.zeros(self._graph.number)
        for ranked in found:
            for rank, place in enumerate(ranked, start=1):
                hits[place] += 1 / rank
        named = np.zeros(self._graph.number)
        for name in sorted(self._names(question)):
            node = self._nodes.get(name, self._only.get(name))
            if node is not None:
                named[node] += self._weights[name]
        seeds = _shared(hits, named, share)
        if not seeds.any():
            return np.zeros(self._number)
        return self._graph.pagerank(seeds, restart=restart)[: self._number]

    def _names(self, text: str) -> set[str]:
        found = set(map(name_key, mentions(text))) | self._known.inside(text)
        return found - {""}

    def _node(self, name: str) -> int:
        return self._nodes.setdefault(name, self._number + len(self._nodes))

    def _rarity(self, holders: int) -> float:
        return math.log(1 + self._number / holders)


class DocumentWalk:
    """A source that walks on a ``DocumentGraph``, from what other sources found and what the
    question names.
    """

    name: Final = "graph"
    wants_vector: Final = False
    wants_found: Final = True

    def __init__(self, ids: Sequence[str], graph: DocumentGraph) -> None:
        """``ids`` are those of the graph's documents, in order."""
        self._ids = ids
        self._places = {text: place for place, text in enumerate(ids)}
        self._graph = graph

    async def rank(
        self, query: Query, limit: int, found: Mapping[str, Sequence[Ranked]]
    ) -> list[Ranked]:
        """The documents where the walk is most often, with the share of its time."""
        import asyncio

        places = self._places
        lists = [[places[r.id] for r in ranked if r.id in places] for ranked in found.values()]
        return await asyncio.to_thread(self._walked, query.text, limit, lists)

    def _walked(self, question: str, limit: int, lists: Sequence[Sequence[int]]) -> list[Ranked]:
        import numpy as np

        visits = self._graph.walk(question, lists)
        best = np.argsort(-visits, kind="stable")[:limit]
        return [Ranked(self._ids[i], float(visits[i])) for i in best if visits[i] > 0]


def _shared(
    hits: NDArray[np.float64], named: NDArray[np.float64], share: float
) -> NDArray[np.float64]:
    """Where the walk restarts: ``share`` of it at what is named, where there is both."""
    if not named.any():
        return hits
    if not hits.any():
        return named
    seeds: NDArray[np.float64] = (1 - share) * hits / hits.sum() + share * named / named.sum()
    return seeds
