"""Documents through the real embedder, Chroma and graph, and back by searching."""

from __future__ import annotations

from pathlib import Path

import pytest

from reverie.knowledge.library import Done, Library
from reverie.settings import load_settings

pytestmark = pytest.mark.live
pytest.importorskip("chromadb", reason="chromadb is not installed")

QUESTIONS = {
    "What restores service when a database stops answering?": "runbook.md",
    "Which code waits longer after every failed attempt?": "retry.py",
    "Why does water come and go at the beach?": "sea.txt",
}


async def test_questions_find_the_documents_that_answer_them(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "runbook.md").write_text(
        "# Runbook\n\n## Outage\n\nIf the primary Postgres is down, promote the replica.\n\n"
        "## Deploys\n\nShip on Mondays.\n"
    )
    (folder / "retry.py").write_text(
        "def call(send, tries=3):\n    for n in range(tries):\n        try:\n"
        "            return send()\n        except OSError:\n"
        "            sleep(2 ** n)  # back off exponentially\n"
    )
    (folder / "sea.txt").write_text("The moon's gravity raises the tides twice a day.")
    library = await Library.open(load_settings().settings, index_from=0)
    try:
        done = [e async for e in library.ingest([folder]) if isinstance(e, Done)]
        assert len(done) == 3
        status = await library.status()
        assert (status.embedder, status.unindexed) == ("all-MiniLM-L6-v2-int8", 0)
        for question, name in QUESTIONS.items():
            result = await library.search(question, limit=3)
            assert result.warnings == ()
            best = result.hits[0]
            assert Path(best.metadata["path"]).name == name, question
            assert {"vector", "graph"} <= {place.source for place in best.places}
    finally:
        await library.close()
