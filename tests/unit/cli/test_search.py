"""``reverie search``: over real stores, with an embedder that hashes words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from reverie.cli import hits
from reverie.cli.run import run
from reverie.knowledge.search.records import Hit, Place, SearchResult
from reverie.models import embeddings
from tests.unit.cli.test_ingest import Embedder, said


@pytest.fixture(autouse=True)
def _hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "load_embedder", lambda *_: Embedder())


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "sea.md").write_text("# Sea\n\nThe tides pull the \x1b[31m[bold]sea\x9b2J.\n")
    (folder / "boats.py").write_text("def count_boats(sea):\n    return len(sea.boats)\n")
    run(["ingest", str(folder)])
    capsys.readouterr()
    return folder


def test_a_hit_says_where_it_is_and_how_it_was_found(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = said(capsys, "search", "how do tides pull?", "--limit", "1")

    place, text, found = out.splitlines()
    assert place == f"1. {folder}/sea.md:1  Sea"
    assert text == "   The tides pull the [31m[bold]sea 2J."
    assert "vector 1 (" in found
    assert "fulltext 1 (" in found
    assert "graph 1 (" in found
    assert err == ""


def test_filters_and_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = said(capsys, "search", "sea", "--kind", "function", "--json")
    assert [hit["metadata"]["name"] for hit in json.loads(out)["hits"]] == ["count_boats"]
    out, _ = said(capsys, "search", "sea", "--path", "*.md", "--json")
    (hit,) = json.loads(out)["hits"]
    assert hit["text"].endswith("\x1b[31m[bold]sea\x9b2J.")
    assert "\x1b" not in out
    assert "\x9b" not in out
    assert said(capsys, "search", "sea", "--path", "*.pdf")[0] == "nothing was found\n"


def test_wrong_use(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, err = said(capsys, "search", "sea", "--kind", "poem", code=2)
    assert "hint: There are: function, class" in err
    assert "error" in said(capsys, "search", "sea", "--limit", "0", code=2)[1]


def test_an_empty_library_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    _, err = said(capsys, "search", "sea", code=1)
    assert err == (
        "error: the library is empty\nhint: Read some documents into it: reverie ingest PATH\n"
    )


@pytest.mark.parametrize("width", [30, 60, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    words = "a long line about the tide and much else " * 20
    hit = Hit(
        "1",
        f"{words}\n潮汐{words}\n\nthe tide",
        0.5,
        (Place("vector", 1, 0.5), Place("fulltext", 12, 10.8), Place("graph", 3, 0.1)),
        metadata={"path": "/" + "x" * 70, "first_line": 3, "name": "Tide"},
    )
    console = Console(width=width, force_terminal=True, color_system=None)
    with console.capture() as capture:
        hits._print_hit(console, 1, hit, ["tide"], hits.glyphs_for("utf-8"), long_lines=False)
    lines = capture.get().splitlines()
    assert all(len(line) <= width for line in lines)
    assert any("tide" in line for line in lines)
    assert "fulltext 12 (10.8)" in capture.get()


def test_words_are_marked_in_their_forms() -> None:
    text = hits._marked("Tides, tidal and untied: the tide.", hits._stems("the tides"))
    assert [text.plain[s.start : s.end] for s in text.spans] == ["Tides", "tide"]


def test_pages_stand_in_place_of_lines() -> None:
    hit = Hit("1", "", 1.0, metadata={"path": "/a.pdf", "first_line": 3, "page": 7})
    assert hits._place(hit) == "/a.pdf, page 7"
    assert SearchResult("", (hit,)).warnings == ()
