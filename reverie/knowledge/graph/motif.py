"""The packaged motif facts: everyday cause and effect, loaded into a graph store once."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from importlib import resources
from typing import Final

from reverie.knowledge.graph.store import GraphStore
from reverie.knowledge.graph.triplet import Triplet, embedding_text, triplet_batch
from reverie.models.embedder import Embedder

MOTIF_SOURCE: Final = "motif"
"""The ``source`` of every packaged fact."""

_BATCH = 64
"""Facts embedded between two progress reports, about a fifth of a second."""

SeedProgress = Callable[[int, int], None]
"""Called in the event loop with the facts embedded so far and all of them."""


async def seed(
    store: GraphStore, embedder: Embedder, *, progress: SeedProgress | None = None
) -> bool:
    """Loads the motif facts into ``store`` unless it has this version of them already.

    When the packaged facts change, the new ones replace the old ones, which stay as history. Safe
    when several processes do it at once. Returns whether anything was written; takes 1 to 3 s
    when it was, a millisecond when not. ``store`` must have been opened for ``embedder``. Raises
    what ``embedder`` and ``store`` raise.
    """
    import numpy as np

    triplets, version = await asyncio.to_thread(_packaged)
    if await store.source_version(MOTIF_SOURCE) == version:
        return False
    blocks = []
    for start in range(0, len(triplets), _BATCH):
        some = triplets[start : start + _BATCH]
        blocks.append(await embedder.embed([embedding_text(t) for t in some]))
        if progress is not None:
            progress(start + len(some), len(triplets))
    batch = triplet_batch(triplets, np.concatenate(blocks))
    return await store.replace_source(MOTIF_SOURCE, version, batch)


def _packaged() -> tuple[list[Triplet], str]:
    """The facts, and a hash of everything that decides what is stored: words and embedded form."""
    lines = resources.files(__package__).joinpath("motif.jsonl").read_text(encoding="utf-8")
    records = [json.loads(line) for line in lines.splitlines() if line.strip()]
    triplets = [
        Triplet(what=r["what"], action=r["action"], result=r["result"], source=MOTIF_SOURCE)
        for r in records
    ]
    said = [[t.what, t.action, t.result, embedding_text(t)] for t in triplets]
    return triplets, hashlib.sha256(json.dumps(said).encode()).hexdigest()
