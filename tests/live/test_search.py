"""Search with the real embedding model, as docs/search.md shows it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reverie.knowledge.search import SearchKind, create_search_engine
from reverie.models.embedder import MiniLM

pytestmark = pytest.mark.live

NOTES = [
    {"title": "The Quiet Harbour", "text": "A drama of 1986, directed by Mira Solano."},
    {"title": "Mira Solano", "text": "She grew up in Velmora and studied law."},
    {"title": "Velmora", "text": "A town at the sea with a red lighthouse."},
    {"title": "Film school", "text": "Three years of cameras, light and sound."},
    {"title": "Law school", "text": "Four years of contracts and courts."},
    {"title": "Rain", "text": "Water that falls from the clouds."},
]


async def test_meaning_is_found_without_shared_words(model_cache: Path) -> None:
    embedder = MiniLM(model_cache)
    async with create_search_engine("hybrid", documents=NOTES, embedder=embedder) as engine:
        result = await engine.search("wet weather", limit=1)

    assert result.hits[0].title == "Rain"
    assert [place.source for place in result.hits[0].places] == ["vector"]


async def test_the_walk_finds_the_second_step(model_cache: Path) -> None:
    embedder = MiniLM(model_cache)
    titles = []
    kinds: tuple[SearchKind, ...] = ("hybrid", "graph")
    for kind in kinds:
        async with create_search_engine(kind, documents=NOTES, embedder=embedder) as engine:
            result = await engine.search(
                "What did the director of The Quiet Harbour study?", limit=2
            )
        titles.append([hit.title for hit in result.hits])

    assert titles[0] == ["The Quiet Harbour", "Film school"]  # as docs/search.md says
    assert titles[1] == ["The Quiet Harbour", "Mira Solano"]


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
