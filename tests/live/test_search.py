"""Search with the real embedding model, as docs/search.md shows it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reverie.knowledge.search import create_search_engine
from reverie.models.embedder import MiniLM

pytestmark = pytest.mark.live

NOTES = [
    {"title": "The Quiet Harbour", "text": "A drama of 1986, directed by Mira Solano."},
    {"title": "Mira Solano", "text": "She grew up near Velmora and studied law."},
    {"title": "Velmora", "text": "A town at the sea with a red lighthouse."},
    {"title": "Rain", "text": "Water that falls from the clouds."},
    {"title": "Harbour", "text": "A place where ships are safe from waves and wind."},
]


async def test_meaning_is_found_without_shared_words(model_cache: Path) -> None:
    embedder = MiniLM(model_cache)
    async with create_search_engine("hybrid", documents=NOTES, embedder=embedder) as engine:
        result = await engine.search("wet weather", limit=1)

    assert result.hits[0].title == "Rain"
    assert [place.source for place in result.hits[0].places] == ["vector"]


async def test_the_walk_finds_the_second_step(model_cache: Path) -> None:
    embedder = MiniLM(model_cache)
    async with create_search_engine("graph", documents=NOTES, embedder=embedder) as engine:
        result = await engine.search("What did the director of The Quiet Harbour study?", limit=2)

    assert [hit.title for hit in result.hits] == ["The Quiet Harbour", "Mira Solano"]


async def test_the_example_of_the_docs_runs_and_prints_what_they_say(
    model_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REVERIE_MODEL_CACHE", str(model_cache))
    page = (Path(__file__).parents[2] / "docs" / "search.md").read_text(encoding="utf-8")
    example, printed = re.findall(r"```(?:python|text)\n(.*?)```", page, re.DOTALL)[:2]
    body = example.replace("asyncio.run(main())", "")
    names: dict[str, object] = {}
    exec(compile(body, "docs/search.md", "exec"), names)  # noqa: S102  # our own page

    await names["main"]()  # type: ignore[operator]  # the example's function

    assert capsys.readouterr().out == printed
