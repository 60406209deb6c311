"""The retrieval benchmark reads its data and its own report rightly."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from reverie.errors import ConfigError
from reverie.evals.bench.retrieval import _interval
from reverie.evals.bench.retrieval_data import FOLDER, corpora
from reverie.evals.bench.retrieval_plot import draw
from reverie.evals.bench.retrieval_sides import recall


def write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    write(tmp_path / "hotpotqa_train_corpus.json", {"A": ["One.", " Two."], "B": ["Three."]})
    write(
        tmp_path / "hotpotqa_train.json",
        [{"question": "which?", "supporting_facts": [["A", 0], ["A", 1], ["B", 0]]}],
    )
    return tmp_path


def test_corpora_are_read(data: Path) -> None:
    write(data / "musique_train_corpus.json", [{"title": "T", "text": t} for t in "xy"])
    paragraphs = [
        {"title": "T", "paragraph_text": "y", "is_supporting": True},
        {"title": "T", "paragraph_text": "x", "is_supporting": False},
    ]
    write(data / "musique_train.json", [{"question": "what?", "paragraphs": paragraphs}])
    first = "A thing that is asked for by what it does and not by its name, the parser"
    entry = f"parser\n   <tool> {first}. It reads {{text}}{' and more' * 20}. (1999-01-02)\n"
    (data / "foldoc.dict.dz").write_bytes(gzip.compress(f"00-x\n y\n{entry}".encode()))

    hotpot, musique, foldoc = corpora()

    assert [(d.id, d.title, d.text) for d in hotpot.documents] == [
        ("A", "A", "One. Two."),
        ("B", "B", "Three."),
    ]
    assert hotpot.relevant == (frozenset({"A", "B"}),)
    assert musique.relevant == (frozenset({"1"}),)
    assert foldoc.questions == (first.replace("parser", "it"),)
    assert foldoc.documents[0].text.startswith("It reads text and more")


def test_without_data_the_hint_says_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    with pytest.raises(ConfigError, match="HippoRAG"):
        corpora()


def test_recall_and_its_interval() -> None:
    assert recall(["a", "x", "b"], frozenset("abc"), 2) == pytest.approx(1 / 3)
    values = np.array([0.0, 1.0] * 50)

    low, high = _interval(values)

    assert (low, high) == _interval(values)
    assert low == pytest.approx(0.4, abs=0.02)  # 0.5 less 1.96 standard errors of .05
    assert high == pytest.approx(0.6, abs=0.02)


def test_a_report_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra plots is not installed")
    row = dict.fromkeys(("recall@2", "recall@5", "recall@10"), "50.0 (40.0 to 60.5)")
    table = {"title": "Some: 1 question", "rows": [{"search": "Reverie: vector", **row}]}

    assert draw([table, {"title": "else", "rows": [{"x": 1}]}], tmp_path / "x.png").stat().st_size

    with pytest.raises(ConfigError, match="no recall"):
        draw([{**table, "rows": [{"search": "x", **row, "recall@5": "?"}]}], tmp_path / "x.png")
