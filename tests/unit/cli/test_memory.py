"""``reverie memory`` over a real file; only the embedder is replaced."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reverie.cli import main
from reverie.models.embedder import MiniLM

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _embedder(monkeypatch: pytest.MonkeyPatch) -> None:
    async def load(self: MiniLM, *, progress: Any = None) -> None:
        return

    async def embed(self: MiniLM, texts: Sequence[str]) -> Any:
        vectors = np.zeros((len(texts), MiniLM.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                vectors[row, hashlib.sha256(word.encode()).digest()[0]] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    monkeypatch.setattr(MiniLM, "load", load)
    monkeypatch.setattr(MiniLM, "embed", embed)


def added(text: str, output: Output, *options: str) -> str:
    assert main(["memory", "add", text, "--json", *options]) == 0
    return str(json.loads(output.readouterr().out)["id"])


def test_what_was_added_is_found_with_the_day_it_was_learnt(capsys: Output) -> None:
    identity = added("the red door sticks\x1b[31m", capsys, "--source", "Ada", "--importance", "1")
    added("the red door sticks\x1b[31m", capsys, "--source", "Bob")

    assert main(["memory", "search", "red door"]) == 0

    out = capsys.readouterr().out
    assert out.startswith("the red door sticks [31m\n  learnt 20")
    assert "from Ada; again 20" in out
    assert "from Bob, 2 times in all" in out
    assert f"strength 1.00, {identity}" in out
    assert "\x1b" not in out


def test_nothing_similar_is_said(capsys: Output) -> None:
    assert main(["memory", "search", "anything"]) == 0
    assert capsys.readouterr().out == "nothing similar is remembered\n"
    assert main(["memory", "list"]) == 0
    assert capsys.readouterr().out == "nothing is remembered yet\n"


def test_the_list_is_a_table_or_json(capsys: Output) -> None:
    added("one", capsys)
    identity = added("two " * 40, capsys, "--kind", "fact")

    assert main(["memory", "list"]) == 0
    table = capsys.readouterr().out
    assert main(["memory", "list", "--json", "--kind", "fact"]) == 0
    listed = json.loads(capsys.readouterr().out)

    assert table.splitlines()[1].startswith(identity)
    assert "..." in table
    assert [(one["id"], one["strength"]) for one in listed] == [(identity, pytest.approx(0.5))]


def test_memories_go_to_a_file_and_come_back(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = added("the red door sticks", capsys)
    target = tmp_path / "memories.jsonl"

    assert main(["memory", "export", str(target)]) == 0
    assert main(["memory", "forget", identity[:6]]) == 0
    assert main(["memory", "import", str(target)]) == 0
    monkeypatch.setattr("sys.stdin", io.StringIO(target.read_text()))
    assert main(["memory", "import", "-", "--json"]) == 0

    out = capsys.readouterr().out
    assert out == (f'Exported 1 to {target}\nForgotten: 1\nImported 1\n{{"imported": 1}}\n')
    assert main(["memory", "compact"]) == 0
    assert capsys.readouterr().out.startswith("Merged 0, forgot 0, freed ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add", " "], "the text is empty"),
        (["add", "x", "--importance", "7"], "an importance of 7"),
        (["forget", "zz"], "there is no memory 'zz'"),
        (["import", "/nowhere/at/all"], "cannot read /nowhere/at/all"),
        (["export", "/nowhere/at/all"], "cannot write /nowhere/at/all"),
        (["compact", "--similar-above", "2"], "similar_above is 2"),
    ],
)
def test_wrong_use_is_said(arguments: list[str], said: str, capsys: Output) -> None:
    assert main(["memory", *arguments]) == 2
    assert said in capsys.readouterr().err
