"""What extraction is worth: triplets by the packaged model from real passages, and rules on code.

"Stand together" is the share of triplets whose words one sentence (with the one before) has: what
pruning demands. "In order" is stricter: thing, action and result stand there word by word, one
behind the other. Neither says that the statement is right; that takes a reader.
"""

from __future__ import annotations

import asyncio
import re
import sysconfig
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reverie.evals.bench import Cell, Progress, Report, Table
from reverie.evals.bench.machine import load_average, processor
from reverie.evals.bench.retrieval_data import corpora
from reverie.knowledge.chunk import chunks_of
from reverie.knowledge.chunk.chunk import Chunk
from reverie.knowledge.extract.prompt import Words, example_parts
from reverie.knowledge.extract.prune import Draft, prune
from reverie.knowledge.extract.rules import rule_batch
from reverie.knowledge.extract.triplets import MOST_TRIPLETS, Extraction, TripletExtractor
from reverie.knowledge.graph.records import Span
from reverie.knowledge.read.document import SourceDocument
from reverie.models.load import load_chat_model
from reverie.settings import load_settings

if TYPE_CHECKING:
    from reverie.models.chat_model import ChatModel

_PASSAGES: Final = 40
_EVERY: Final = 20
"""One passage in so many, so that they are of many questions."""
_BYTES_OF_CODE: Final = 5_000_000


def run(repeats: int, progress: Progress) -> Report:
    """Triplets once, since the model writes the same each time; rules ``repeats`` times."""
    return asyncio.run(_run(repeats, progress))


async def _run(repeats: int, progress: Progress) -> Report:
    settings = await asyncio.to_thread(lambda: load_settings().settings)
    model = await asyncio.to_thread(load_chat_model, "smollm2", settings)
    chunks = await asyncio.to_thread(_passages)
    rows: list[tuple[Cell, ...]] = []
    for words, label in (("any", "any words"), ("chunk", "words of the passage")):
        progress(f"triplets, {label}: {len(chunks)} passages")
        rows += await _triplets(model, chunks, words, label)  # type: ignore[arg-type]  # both are Words
    triplets = Table(
        f"{len(chunks)} passages of HotpotQA, at most {MOST_TRIPLETS} triplets each",
        (
            "words allowed",
            "readable",
            "triplets",
            "stand together",
            "in order",
            "tokens",
            "seconds",
        ),
        tuple(rows),
    )
    code = await asyncio.to_thread(_rules, repeats, progress)
    facts: dict[str, Cell] = {
        "model": model.place,
        "passages": f"every {_EVERY}th",
        "repeats": repeats,
        "processor": await asyncio.to_thread(processor),
        "load": load_average(),
    }
    await model.aclose()
    return Report((triplets, code), (), facts)


def _passages() -> list[Chunk]:
    documents = corpora()[0].documents[::_EVERY][:_PASSAGES]
    return [Chunk(d.id, "prose", d.text, Span(d.title), headings=(d.title,)) for d in documents]


async def _triplets(
    model: ChatModel, chunks: Sequence[Chunk], words: Words, label: str
) -> list[tuple[Cell, ...]]:
    """Two rows: as written, and what pruning leaves of the same replies."""
    extractor = TripletExtractor(model, words=words, pruned=False)
    every = [one async for one in extractor.extract_all(chunks, at_once=1)]
    written = [_judged(one, pruned=False) for one in every]
    kept = [_judged(one, pruned=True) for one in every]
    return [_row(label, every, written), _row(f"{label}, pruned", every, kept)]


@dataclass(frozen=True, slots=True)
class _Judged:
    triplets: int
    together: int
    in_order: int


def _judged(one: Extraction, *, pruned: bool) -> _Judged:
    text = one.chunk.text
    drafts = [Draft(t.what, t.action, t.result) for t in one.triplets]
    kept = [
        grounded.draft
        for grounded in prune(drafts, text, most=MOST_TRIPLETS, examples=example_parts()).kept
    ]
    judged = kept if pruned else drafts
    return _Judged(len(judged), len(kept), sum(_stands_in_order(draft, text) for draft in judged))


def _stands_in_order(draft: Draft, text: str) -> bool:
    plain = " ".join(re.findall(r"\w+", text.casefold()))
    at = 0
    for part in (draft.what, draft.action, draft.result):
        words = " ".join(re.findall(r"\w+", part.casefold()))
        found = plain.find(words, at) if words else -1
        if found < 0 or (at and found > at + 40):
            return False
        at = found + len(words)
    return True


def _row(label: str, every: Sequence[Extraction], judged: Sequence[_Judged]) -> tuple[Cell, ...]:
    count = sum(one.triplets for one in judged)
    return (
        label,
        sum(one.error is None for one in every) / len(every),
        count,
        sum(one.together for one in judged) / count if count else "-",
        sum(one.in_order for one in judged) / count if count else "-",
        round(sum(one.tokens_in + one.tokens_out for one in every) / len(every)),
        sum(one.seconds for one in every) / len(every),
    )


def _rules(repeats: int, progress: Progress) -> Table:
    progress("rules on the standard library")
    documents, size = _library()
    chunked = [(document, chunks_of(document, tokens=200)) for document in documents]
    seconds, nodes, edges = [], 0, 0
    for _ in range(repeats):
        began = time.perf_counter()
        batches = [rule_batch(document, chunks) for document, chunks in chunked]
        seconds.append(time.perf_counter() - began)
        nodes = sum(len(batch.nodes) for batch in batches)
        edges = sum(len(batch.edges) for batch in batches)
    ordered = sorted(seconds)
    return Table(
        f"rules on {len(documents)} files of Python's standard library, {size / 1e6:.1f} MB",
        ("nodes", "edges", "seconds, median", "least", "most"),
        ((nodes, edges, ordered[len(ordered) // 2], ordered[0], ordered[-1]),),
    )


def _library() -> tuple[list[SourceDocument], int]:
    root = Path(sysconfig.get_path("stdlib"))
    documents: list[SourceDocument] = []
    size = 0
    for path in sorted(root.rglob("*.py")):
        left_out = {"site-packages", "dist-packages", "test", "tests", "lib2to3"}
        if left_out & set(path.relative_to(root).parts):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        documents.append(SourceDocument(path.as_posix(), "code", text, "python"))
        size += len(text)
        if size >= _BYTES_OF_CODE:
            break
    return documents, size
