"""How much the graph walk depends on its numbers, and what fitted weights are worth."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Final

from reverie.evals.bench import Cell, Progress, Table
from reverie.evals.bench.retrieval_data import Corpus
from reverie.evals.bench.retrieval_sides import POOL, recall
from reverie.knowledge.search.document_graph import QUESTION, RESTART, TITLE, DocumentGraph
from reverie.knowledge.search.factory import WEIGHTS, DocumentSearch
from reverie.knowledge.search.fit import fit_weights
from reverie.knowledge.search.fusion import fuse
from reverie.knowledge.search.records import Ranked

Lists = Sequence[Mapping[str, Sequence[Ranked]]]

_GRID: Final[Mapping[str, tuple[float, ...]]] = {
    "restart": (0.1, 0.2, 0.3, 0.4, 0.5, 0.7),
    "title": (1.0, 2.0, 3.0, 5.0, 10.0),
    "question": (0.0, 0.25, 0.5, 0.75),
    "weight": (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 1000.0),
}
_DEFAULT: Final[Mapping[str, float]] = {
    "restart": RESTART,
    "title": TITLE,
    "question": QUESTION,
    "weight": WEIGHTS["graph"],
}
_SEEDS: Final = 5
_AT: Final = 5


async def lists_of(engine: DocumentSearch, corpus: Corpus) -> list[dict[str, list[Ranked]]]:
    """What vector, BM25 and walk find for every question."""
    return [await engine.lists(question, limit=POOL) for question in corpus.questions]


def sensitivity(corpora: Sequence[Corpus], lists: Sequence[Lists], progress: Progress) -> Table:
    """Recall@5 with one number of the walk changed, the others at their default. Blocks."""
    rows: list[tuple[Cell, ...]] = []
    columns: list[dict[tuple[str, float], float]] = []
    for corpus, found in zip(corpora, lists, strict=True):
        progress(f"{corpus.name}: {sum(map(len, _GRID.values()))} settings of the walk")
        columns.append(_varied(corpus, found))
    for name, values in _GRID.items():
        for value in values:
            mark = " (default)" if value == _DEFAULT[name] else ""
            measured = [100 * column[name, value] for column in columns]
            rows.append((f"{_SAID[name]} {value:g}{mark}", *measured))
    return Table(
        "Recall@5 of hybrid + graph walk, one number changed",
        ("number", *(corpus.name for corpus in corpora)),
        tuple(rows),
    )


_SAID: Final = {
    "restart": "probability to restart",
    "title": "weight of a title",
    "question": "share of the question's names",
    "weight": "weight of the walk's list",
}


def _varied(corpus: Corpus, lists: Lists) -> dict[tuple[str, float], float]:
    graphs = {title: DocumentGraph(corpus.documents, title=title) for title in _GRID["title"]}
    ids = [document.id for document in corpus.documents]
    places = {text: place for place, text in enumerate(ids)}
    measured = {}
    for name, values in _GRID.items():
        for value in values:
            numbers = {**_DEFAULT, name: value}
            every = []
            for question, relevant, found in zip(
                corpus.questions, corpus.relevant, lists, strict=True
            ):
                base = {source: found[source] for source in ("vector", "bm25")}
                visits = graphs[numbers["title"]].walk(
                    question,
                    [[places[one.id] for one in ranked] for ranked in base.values()],
                    restart=numbers["restart"],
                    share=numbers["question"],
                )
                best = (-visits).argsort(kind="stable")[:POOL]
                walked = [Ranked(ids[i], float(visits[i])) for i in best if visits[i] > 0]
                fused = fuse({**base, "graph": walked}, {**WEIGHTS, "graph": numbers["weight"]})
                every.append(recall([one.id for one in fused], relevant, _AT))
            measured[name, value] = statistics.fmean(every)
    return measured


def fitted(corpora: Sequence[Corpus], lists: Sequence[Lists], progress: Progress) -> Table:
    """Fitted weights out of fold, beside fixed ones. Blocks."""
    rows: list[tuple[Cell, ...]] = []
    for corpus, found in zip(corpora, lists, strict=True):
        progress(f"{corpus.name}: fitting weights, {_SEEDS} draws of 5 folds")
        for label, names in (
            ("hybrid", ("vector", "bm25")),
            ("hybrid + graph walk", ("vector", "bm25", "graph")),
        ):
            kept = [{name: one[name] for name in names} for one in found]
            start = {name: WEIGHTS[name] for name in names}
            fits = [
                fit_weights(kept, corpus.relevant, start, at=_AT, seed=seed)
                for seed in range(_SEEDS)
            ]
            held_out = [100 * fit.held_out for fit in fits]
            rows.append(
                (
                    corpus.name,
                    label,
                    100 * fits[0].before,
                    statistics.fmean(held_out),
                    f"{min(held_out):.1f} to {max(held_out):.1f}",
                    100 * fits[0].fitted,
                    ", ".join(f"{name} {w:g}" for name, w in fits[0].weights.items()),
                    fits[0].tried,
                )
            )
    return Table(
        "Recall@5 with fixed weights, and with weights fitted to other questions (5 folds)",
        (
            "corpus",
            "engine",
            "fixed default",
            "fitted, held out",
            "over seeds",
            "fitted to all",
            "weights fitted to all",
            "tried",
        ),
        tuple(rows),
    )
