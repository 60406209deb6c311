"""Search by words over a fixed set of texts: BM25, computed when the texts are indexed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reverie.errors import ConfigError, KnowledgeUnavailable
from reverie.knowledge.search.records import Query, Ranked

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_IDS: Final = "ids.json"
_K1: Final = 1.5
_B: Final = 0.75


class Bm25:
    """A source over N texts by their words (bm25s: Lu 2024, arXiv 2407.03618; Lucene's formula).

    Words are runs of at least two letters, digits or ``_``, in lower case, without the commonest
    English ones, not stemmed: on 100 MuSiQue questions and 300 FOLDOC definitions no other choice
    (all words, plurals cut, other k1 and b) was better at 2, 5 and 10 hits. Texts cannot be added;
    those of a library are in SQLite's full text instead.
    """

    name: Final = "bm25"
    wants_vector: Final = False
    wants_found: Final = False

    def __init__(self, ids: Sequence[str], index: Any) -> None:
        """Use ``build`` or ``load``."""
        self._ids = ids
        self._index = index

    @classmethod
    def build(cls, ids: Sequence[str], texts: Sequence[str]) -> Bm25:
        """The index of ``texts``, known by ``ids``. Blocks: about 25 s for a million short texts.

        Raises ConfigError without bm25s, or when there is not one id for each text.
        """
        if len(ids) != len(texts) or not texts:
            raise ConfigError(f"{len(texts)} texts have {len(ids)} ids")
        index = _bm25s().BM25(k1=_K1, b=_B, method="lucene", backend="numpy", auto_compile=False)
        index.index(_words(texts), show_progress=False)
        return cls(list(ids), index)

    @classmethod
    def load(cls, folder: Path) -> Bm25:
        """What ``save`` wrote. Blocks. Raises KnowledgeUnavailable when that is not all there."""
        bm25s = _bm25s()
        try:
            ids = json.loads((folder / _IDS).read_text(encoding="utf-8"))
            index = bm25s.BM25.load(folder, load_corpus=False, allow_pickle=False)
            if len(ids) != index.scores["num_docs"]:
                raise ValueError(f"{len(ids)} ids, {index.scores['num_docs']} texts")
        except (OSError, ValueError, KeyError, EOFError, TypeError) as error:
            raise KnowledgeUnavailable(
                f"The BM25 index in {folder} cannot be read: {error}", hint="Build it again"
            ) from error
        return cls(ids, index)

    def save(self, folder: Path) -> None:
        """Writes the index to ``folder``: arrays and JSON, no pickle. Blocks.

        Raises KnowledgeUnavailable when it cannot be written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # The ids last: without them the index counts as not there.
            (folder / _IDS).unlink(missing_ok=True)
            self._index.save(folder, allow_pickle=False, show_progress=False)
            (folder / _IDS).write_text(json.dumps(list(self._ids)), encoding="utf-8")
        except OSError as error:
            raise KnowledgeUnavailable(
                f"The BM25 index cannot be written to {folder}: {error.strerror or error}"
            ) from error

    async def rank(
        self, query: Query, limit: int, found: Mapping[str, Sequence[Ranked]]
    ) -> list[Ranked]:
        """The texts that share words with the query, with their BM25 score."""
        return await asyncio.to_thread(self._ranked, query.text, limit)

    def _ranked(self, text: str, limit: int) -> list[Ranked]:
        import numpy as np

        words = [word for word in _words([text])[0] if word in self._index.vocab_dict]
        if not words:
            return []
        scores: NDArray[np.float32] = self._index.get_scores(words)
        best = np.argsort(-scores, kind="stable")[:limit]
        return [Ranked(self._ids[i], float(scores[i])) for i in best if scores[i] > 0]


def _words(texts: Sequence[str]) -> list[list[str]]:
    split: list[list[str]] = _bm25s().tokenize(
        list(texts), stopwords="en", return_ids=False, show_progress=False
    )
    return split


def _bm25s() -> Any:
    try:
        import bm25s
    except ImportError as error:
        raise ConfigError(
            "Search by words needs bm25s, which is not installed",
            hint='Install it with: pip install "reverie[knowledge]"',
        ) from error
    return bm25s
