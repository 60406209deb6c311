"""Search measured: recall of the passages that answer a question, beside peers, in one run.

``BENCH_RETRIEVAL`` names the folder of the data; ``retrieval_plot`` draws what ``--json`` printed.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from reverie.evals.bench import Cell, Goal, Progress, Report, Table
from reverie.evals.bench.machine import load_average, processor
from reverie.evals.bench.retrieval_data import Corpus, corpora
from reverie.evals.bench.retrieval_parameters import fitted, lists_of, sensitivity
from reverie.evals.bench.retrieval_sides import Side, recall, sides
from reverie.knowledge.search import create_search_engine
from reverie.knowledge.search.documents import searched_text
from reverie.models.embeddings import load_embedder
from reverie.settings import load_settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reverie.models.embedder import Embedder

_CUTS: Final = (2, 5, 10)
_RESAMPLES: Final = 10_000
_SEED: Final = 0
_GOAL: Final = 86.0
_BASE: Final = "Reverie: hybrid"
_BEST: Final = "Reverie: hybrid + graph walk"

Recalls = Mapping[str, Mapping[int, "NDArray[np.float64]"]]
"""By side and cut: the recall of every question, 0 to 1."""


def run(repeats: int, progress: Progress) -> Report:
    """Every side on every corpus that is there, then the walk's numbers and fitted weights."""
    return asyncio.run(_run(repeats, progress))


async def _run(repeats: int, progress: Progress) -> Report:
    every = await asyncio.to_thread(corpora)
    embedder = load_embedder(load_settings().settings)
    tables: list[Table] = []
    missing = 0.0
    lists = []
    for corpus in every:
        measured, times, vectors, seconds = await _measured(corpus, embedder, repeats, progress)
        tables.append(_table(corpus, measured, times, seconds))
        if corpus is every[0]:
            missing = 100 * (1 - float(measured[_BEST][5].mean()))
        async with create_search_engine(
            "graph", documents=corpus.documents, embedder=embedder, vectors=vectors
        ) as engine:
            lists.append(await lists_of(engine, corpus))
    tables.append(await asyncio.to_thread(sensitivity, every, lists, progress))
    tables.append(await asyncio.to_thread(fitted, every, lists, progress))
    return Report(
        tuple(tables),
        (Goal(f"% of {every[0].name}'s passages not among the first 5", 100 - _GOAL, missing),),
        {
            "embedder": embedder.name,
            "seed": _SEED,
            "resamples": _RESAMPLES,
            "repeats": repeats,
            "chromadb": await asyncio.to_thread(version, "chromadb"),
            "langchain-classic": await asyncio.to_thread(version, "langchain-classic"),
            "llama-index-core": await asyncio.to_thread(version, "llama-index-core"),
            "processor": await asyncio.to_thread(processor),
            "load": load_average(),
        },
    )


async def _measured(
    corpus: Corpus, embedder: Embedder, repeats: int, progress: Progress
) -> tuple[Recalls, dict[str, tuple[float, float]], NDArray[np.float32], float]:
    """Recalls; by side the seconds of its index and the median of a query; vectors; and the
    seconds that embedding took.
    """
    progress(f"{corpus.name}: embedding {len(corpus.documents)} passages")
    began = time.perf_counter()
    vectors = await embedder.embed([searched_text(document) for document in corpus.documents])
    seconds = time.perf_counter() - began
    recalls: dict[str, dict[int, NDArray[np.float64]]] = {}
    times = {}
    for side in await sides(corpus, embedder, vectors):
        progress(f"{corpus.name}: {side.name}")
        try:
            recalls[side.name], median = await _asked(side, corpus, repeats)
        finally:
            await side.close()
        times[side.name] = side.seconds, median
    return recalls, times, vectors, seconds


async def _asked(
    side: Side, corpus: Corpus, repeats: int
) -> tuple[dict[int, NDArray[np.float64]], float]:
    """Every question, ``repeats`` times: its recalls, and the median seconds of a query."""
    import numpy as np

    await side.search(corpus.questions[0])  # warm
    found: list[list[str]] = []
    taken = []
    for repeat in range(repeats):
        for question in corpus.questions:
            began = time.perf_counter()
            ids = await side.search(question)
            taken.append(time.perf_counter() - began)
            if not repeat:
                found.append(ids)
    pairs = list(zip(found, corpus.relevant, strict=True))
    recalls = {cut: np.array([recall(ids, wanted, cut) for ids, wanted in pairs]) for cut in _CUTS}
    return recalls, statistics.median(taken)


def _table(
    corpus: Corpus, recalls: Recalls, times: Mapping[str, tuple[float, float]], seconds: float
) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, measured in recalls.items():
        index, median = times[name]
        more = "" if name == _BASE else _said(measured[5] - recalls[_BASE][5], sign=True)
        rows.append((name, *(_said(measured[cut]) for cut in _CUTS), more, 1000 * median, index))
    return Table(
        f"{corpus.name}: {len(corpus.questions)} questions, {len(corpus.documents)} passages "
        f"(embedded in {seconds:.1f} s); recall in % with 95 % intervals",
        (
            "search",
            *(f"recall@{cut}" for cut in _CUTS),
            "@5 less hybrid's",
            "p50 a query, ms",
            "index, s",
        ),
        tuple(rows),
    )


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % interval of a mean over questions, by the bootstrap (percentiles, fixed seed)."""
    import numpy as np

    draws = np.random.default_rng(_SEED).integers(len(values), size=(_RESAMPLES, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def _said(values: NDArray[np.float64], *, sign: bool = False) -> str:
    low, high = _interval(values)
    form = "+.1f" if sign else ".1f"
    return f"{100 * values.mean():{form}} ({100 * low:{form}} to {100 * high:{form}})"
