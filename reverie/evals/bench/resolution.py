"""How often entity resolution is right: on WordNet's nouns, and on titles that are all different.

WordNet says which names are synonyms. Pairs that resolution would join are counted by whether any
of their senses is the same; the threshold was chosen on one half of the pairs, the other half is
the test. The rules themselves were made with all pairs in view. ``WNSEARCHDIR`` names the folder
with data.noun; else it is where Debian's wordnet-base puts it.
"""

from __future__ import annotations

import asyncio
import os
import time
import zlib
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Final

from reverie.errors import ConfigError
from reverie.evals.bench import Cell, Progress, Report, Table
from reverie.evals.bench.machine import load_average, processor
from reverie.evals.bench.retrieval_data import corpora
from reverie.knowledge.extract.resolve import MINIMUM_SIMILARITY
from reverie.knowledge.extract.same_name import block_keys, compared, name_of
from reverie.models.embedder import MiniLM
from reverie.settings import load_settings

_THRESHOLDS: Final = (0.0, 0.8, 0.85, MINIMUM_SIMILARITY, 0.95)
_MOST_IN_BLOCK: Final = 200

_Pair = tuple[str, str]


def run(repeats: int, progress: Progress) -> Report:  # noqa: ARG001  # nothing is drawn
    """Once: nothing is drawn."""
    return asyncio.run(_run(progress))


async def _run(progress: Progress) -> Report:
    senses = await asyncio.to_thread(_wordnet)
    embedder = MiniLM(load_settings().settings.models_folder)
    began = time.perf_counter()
    pairs = await asyncio.to_thread(_pairs, sorted(senses))
    facts: dict[str, Cell] = {
        "names": len(senses),
        "seconds to pair": round(time.perf_counter() - began, 1),
        "embedder": embedder.name,
        "processor": await asyncio.to_thread(processor),
        "load": load_average(),
    }
    rows: list[tuple[Cell, ...]] = []
    for half, label in ((0, "chosen on"), (1, "test")):
        progress(f"WordNet, half {half + 1} of 2")
        rows += await _rows(pairs, senses, embedder, half, label)
    titles = sorted({document.title for document in corpora()[0].documents})
    joined = await asyncio.to_thread(_pairs, titles)
    wrong = Table(
        f"{len(titles)} titles of Wikipedia articles, each another thing",
        ("rule", "pairs joined before meaning is asked"),
        tuple((rule, len(found)) for rule, found in joined.items()),
    )
    table = Table(
        "pairs of WordNet's nouns",
        ("half", "rule", "cosine from", "pairs", "same thing", "found of those that are"),
        tuple(rows),
    )
    return Report((table, wrong), (), facts)


async def _rows(
    pairs: dict[str, list[_Pair]],
    senses: dict[str, set[str]],
    embedder: MiniLM,
    half: int,
    label: str,
) -> list[tuple[Cell, ...]]:
    rows: list[tuple[Cell, ...]] = []
    for rule, every in pairs.items():
        some = [pair for pair in every if zlib.crc32("".join(pair).encode()) % 2 == half]
        same = [bool(senses[one] & senses[other]) for one, other in some]
        if rule == "letters":
            rows.append((label, rule, "-", len(some), sum(same) / len(some), "-"))
            continue
        cosines = await _cosines(some, embedder)
        for least in _THRESHOLDS:
            right = [s for s, cosine in zip(same, cosines, strict=True) if cosine >= least]
            share: Cell = sum(right) / len(right) if right else "-"
            rows.append((label, rule, least, len(right), share, sum(right) / max(1, sum(same))))
    return rows


async def _cosines(pairs: Sequence[_Pair], embedder: MiniLM) -> list[float]:
    names = sorted({name for pair in pairs for name in pair})
    vectors = await embedder.embed(names)
    at = {name: row for row, name in enumerate(names)}
    return [float(vectors[at[one]] @ vectors[at[other]]) for one, other in pairs]


def _pairs(names: Sequence[str]) -> dict[str, list[_Pair]]:
    """Every pair that resolution would look at and not refuse, by rule."""
    known = {name: name_of(name) for name in names}
    blocks: dict[str, list[str]] = defaultdict(list)
    for name in names:
        for key in block_keys(known[name]):
            blocks[key].append(name)
    found: dict[str, dict[_Pair, None]] = {"letters": {}, "spelling": {}}
    for members in blocks.values():
        for one, other in combinations(members, 2) if len(members) <= _MOST_IN_BLOCK else ():
            verdict = compared(known[one], known[other])
            if verdict != "different" and one.casefold() != other.casefold():
                found[verdict].setdefault((one, other))
    return {rule: list(pairs) for rule, pairs in found.items()}


def _wordnet() -> dict[str, set[str]]:
    """By noun the ids of its senses; of names that differ in case alone, those of all."""
    path = Path(os.environ.get("WNSEARCHDIR", "/usr/share/wordnet")) / "data.noun"
    if not path.is_file():
        raise ConfigError(
            f"WordNet's nouns are not at {path}",
            hint="install Debian's wordnet-base, or set WNSEARCHDIR to a folder with data.noun",
        )
    folded: dict[str, set[str]] = defaultdict(set)
    names: set[str] = set()
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("  "):
            continue  # the licence
        fields = line.split(" ")
        for place in range(int(fields[3], 16)):
            name = fields[4 + 2 * place].replace("_", " ")
            names.add(name)
            folded[name.casefold()].add(fields[0])
    return {name: folded[name.casefold()] for name in names}
