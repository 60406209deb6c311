"""Whether late interaction over MiniLM's token vectors orders hits better: what it would be worth.

MaxSim (Khattab and Zaharia 2020, ColBERT): for every token of the question the most similar token
of the text, summed. The vectors are the states of all-MiniLM-L6-v2 before pooling, of length one;
nothing is downloaded or trained for it. ``BENCH_RETRIEVAL`` names the folder of the data.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reverie.evals.bench import Cell, Progress, Report, Table
from reverie.evals.bench.machine import load_average, processor
from reverie.evals.bench.retrieval_data import Corpus, corpora
from reverie.evals.bench.retrieval_sides import recall
from reverie.knowledge.search import SearchKind, create_search_engine
from reverie.knowledge.search.documents import searched_text
from reverie.knowledge.search.fusion import fuse
from reverie.knowledge.search.records import Ranked
from reverie.models.embedder import MINILM_FILES, MiniLM
from reverie.settings import load_settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_KINDS: Final[tuple[SearchKind, ...]] = ("vector", "hybrid", "graph")
_CANDIDATES: Final = 30
_CUTS: Final = (2, 5, 10)
_RESAMPLES: Final = 10_000
_SEED: Final = 0
_MOST_TOKENS: Final = 256


def run(repeats: int, progress: Progress) -> Report:
    """Three searches on every corpus, each as it is, reranked, and fused with the new order."""
    return asyncio.run(_run(repeats, progress))


async def _run(repeats: int, progress: Progress) -> Report:
    embedder = MiniLM(load_settings().settings.models_folder)
    await embedder.load()
    tokens = await asyncio.to_thread(_TokenVectors, load_settings().settings.models_folder)
    tables = [
        await _table(corpus, embedder, tokens, repeats, progress)
        for corpus in await asyncio.to_thread(corpora)
    ]
    return Report(
        tuple(tables),
        (),
        {
            "embedder": embedder.name,
            "candidates": _CANDIDATES,
            "seed": _SEED,
            "resamples": _RESAMPLES,
            "repeats": repeats,
            "processor": await asyncio.to_thread(processor),
            "load": load_average(),
        },
    )


async def _table(
    corpus: Corpus, embedder: MiniLM, tokens: _TokenVectors, repeats: int, progress: Progress
) -> Table:
    progress(f"{corpus.name}: embedding {len(corpus.documents)} passages")
    texts = [searched_text(document) for document in corpus.documents]
    vectors = await embedder.embed(texts)
    progress(f"{corpus.name}: the vectors of their tokens")
    began = time.perf_counter()
    states = dict(
        zip(
            (document.id for document in corpus.documents),
            await asyncio.to_thread(lambda: [tokens.of(text) for text in texts]),
            strict=True,
        )
    )
    seconds = time.perf_counter() - began
    rows: list[tuple[Cell, ...]] = []
    for kind in _KINDS:
        progress(f"{corpus.name}: {kind}")
        orders: dict[str, list[list[str]]] = {"": [], ", MaxSim": [], ", fused with MaxSim": []}
        taken: list[float] = []
        async with create_search_engine(
            kind, documents=corpus.documents, embedder=embedder, vectors=vectors
        ) as engine:
            for question in corpus.questions:
                result = await engine.search(question, limit=_CANDIDATES)
                before = [hit.id for hit in result.hits]
                after = before
                for _ in range(repeats):
                    began = time.perf_counter()
                    after = await asyncio.to_thread(_reordered, tokens, question, before, states)
                    taken.append(time.perf_counter() - began)
                for name, order in zip(orders, (before, after, _fused(before, after)), strict=True):
                    orders[name].append(order)
        rows += _rows(kind, orders, corpus, 1000 * statistics.median(taken))
    return Table(
        f"{corpus.name}: {len(corpus.questions)} questions, {len(texts)} passages (token vectors "
        f"in {seconds:.1f} s); recall in % with 95 % intervals",
        ("order", *(f"recall@{cut}" for cut in _CUTS), "@5 less without", "p50 a query, ms"),
        tuple(rows),
    )


def _rows(
    kind: str, orders: dict[str, list[list[str]]], corpus: Corpus, median: float
) -> list[tuple[Cell, ...]]:
    import numpy as np

    recalls = {
        name: {
            cut: np.array(
                [
                    recall(order, wanted, cut)
                    for order, wanted in zip(found, corpus.relevant, strict=True)
                ]
            )
            for cut in _CUTS
        }
        for name, found in orders.items()
    }
    return [
        (
            kind + name,
            *(_said(measured[cut]) for cut in _CUTS),
            _said(measured[5] - recalls[""][5]) if name else "",
            median if name else "",
        )
        for name, measured in recalls.items()
    ]


def _said(values: NDArray[np.float64]) -> str:
    """The mean over questions in %, and its 95 % interval by the bootstrap (percentiles)."""
    import numpy as np

    draws = np.random.default_rng(_SEED).integers(len(values), size=(_RESAMPLES, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
    return f"{100 * values.mean():.1f} ({100 * low:.1f} to {100 * high:.1f})"


def _reordered(
    tokens: _TokenVectors,
    question: str,
    candidates: Sequence[str],
    states: dict[str, NDArray[np.float32]],
) -> list[str]:
    asked = tokens.of(question)
    scores = {name: float((states[name] @ asked.T).max(axis=0).sum()) for name in candidates}
    return sorted(candidates, key=lambda name: -scores[name])


def _fused(before: Sequence[str], after: Sequence[str]) -> list[str]:
    lists = {
        name: [Ranked(text, -float(rank)) for rank, text in enumerate(order)]
        for name, order in (("before", before), ("after", after))
    }
    return [fused.id for fused in fuse(lists, {})]


class _TokenVectors:
    """The states of MiniLM's last layer, of length one, without those of the marks around a text.
    Blocks.
    """

    def __init__(self, folder: Path) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        model, tokenizer = (folder / file.name for file in MINILM_FILES)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer: Any = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.enable_truncation(_MOST_TOKENS)
        self._tokenizer.no_padding()
        self._inputs = {wanted.name for wanted in self._session.get_inputs()}

    def of(self, text: str) -> NDArray[np.float32]:
        """[T, D]."""
        import numpy as np

        ids = np.array([self._tokenizer.encode(text).ids], dtype=np.int64)
        every = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.zeros_like(ids),
        }
        feed = {name: value for name, value in every.items() if name in self._inputs}
        states: NDArray[np.float32] = self._session.run(None, feed)[0][0]
        if len(states) > 2:
            states = states[1:-1]
        norms = np.maximum(np.linalg.norm(states, axis=1, keepdims=True), 1e-12)
        unit: NDArray[np.float32] = (states / norms).astype(np.float32)
        return unit
