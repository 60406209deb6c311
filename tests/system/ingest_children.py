"""What tests of an ingest run in processes of their own: ``python ingest_children.py TASK ...``.

``kills HOME FOLDER SECONDS...`` ends one ingest after another by SIGKILL, each so long after it
began, and lets the last one finish. Children are forked, so that what takes long to import is
imported once.

``ingest HOME FOLDER`` ingests, slowly.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reverie.knowledge.library import Library
from reverie.settings import Settings

NAME, DIMENSION = "hashed words", 32
SECONDS_PER_TEXT = 0.002


class SlowEmbedder:
    """Bags of words, hashed; takes its time, as models do."""

    name = NAME
    dimension = DIMENSION
    notices = ()

    def __init__(self, seconds: float = SECONDS_PER_TEXT) -> None:
        self._seconds = seconds

    async def load(self) -> None:
        return

    async def aclose(self) -> None:
        return

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        await asyncio.sleep(self._seconds * len(texts))
        vectors = np.zeros((len(texts), DIMENSION), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in re.findall(r"\w+", text.lower()) or [""]:
                vectors[row, hashlib.sha256(word.encode()).digest()[0] % DIMENSION] += 1
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.maximum(norms, 1e-12)).astype(np.float32)


async def ingest(home: Path, folder: Path, seconds: float = SECONDS_PER_TEXT) -> list[str]:
    """Returns the types of what was told."""
    library = await Library.open(Settings(home=home), embedder=SlowEmbedder(seconds))
    try:
        return [event.type async for event in library.ingest([folder])]
    finally:
        await library.close()


def kills(home: Path, folder: Path, moments: Sequence[float]) -> None:
    """Prints how every child ended: its exit code, or the negative number of a signal."""
    import chromadb  # noqa: F401  # once for all children

    for moment in (*moments, None):
        child = os.fork()
        if not child:
            asyncio.run(ingest(home, folder))
            os._exit(0)
        if moment is not None:
            time.sleep(moment)
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    task, at_home, at_folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    if task == "kills":
        kills(at_home, at_folder, [float(moment) for moment in sys.argv[4:]])
    else:
        sys.stdout.write("begins\n")
        sys.stdout.flush()
        asyncio.run(ingest(at_home, at_folder, 0.05))
