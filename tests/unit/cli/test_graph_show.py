"""``reverie graph show`` and its companions over a real store; only the embedder is replaced."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reverie.cli import main
from reverie.knowledge.graph import SqliteGraph
from reverie.knowledge.graph.records import Batch, Edge, Node, Span
from reverie.models.embedder import MiniLM

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _embedder(monkeypatch: pytest.MonkeyPatch) -> None:
    async def load(self: MiniLM, *, progress: Any = None) -> None:
        return

    async def embed(self: MiniLM, texts: Sequence[str]) -> Any:
        return np.tile(np.eye(1, MiniLM.dimension, dtype=np.float32), (len(texts), 1))

    monkeypatch.setattr(MiniLM, "load", load)
    monkeypatch.setattr(MiniLM, "embed", embed)


@pytest.fixture
def stored(tmp_path: Path) -> None:
    """A module that imports another one, a dream about it, and what was said until 2020."""

    async def write() -> None:
        path = tmp_path / "home" / "graph.sqlite"
        store = await SqliteGraph.open(path, embedder=MiniLM.name, dimension=MiniLM.dimension)
        parser = Node("parser", "entity", "parser\x1b[31m")
        span = Span("parser.py", 3, 4)
        edges = [
            Edge("parser", "imports", "tokenizer", source="parser.py", span=span),
            Edge("tokenizer", "imports", "unicode tables", source="tokenizer.py", confidence=0.75),
            Edge("parser", "causes", "a headache", "is read", status="hypothesis", source="dream"),
            Edge("parser", "calls", "lex", source="old", valid_from=1e9, valid_to=1.5e9),
        ]
        await store.write(Batch([parser], edges, aliases={"the parsing module": "parser"}))
        await store.close()

    asyncio.run(write())


@pytest.mark.usefixtures("stored")
def test_the_neighbourhood_is_told_with_where_it_is_from(capsys: Output) -> None:
    assert main(["graph", "show", "the parsing module", "--hops", "2"]) == 0

    out = capsys.readouterr().out.splitlines()
    assert out == [
        "parser [31m (entity)",
        "1 hop:",
        "  parser [31m → imports → tokenizer  [parser.py:3-4]",
        "2 hops:",
        "  tokenizer → imports → unicode tables  [tokenizer.py, confidence 0.75]",
    ]


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("options", "said", "silent"),
    [
        (["--hypotheses"], "is read → a headache  [dream, hypothesis]", "unicode"),
        (["--relation", "calls"], "nothing else is known of it", "tokenizer"),
        (["--at", "2010-01-01"], "calls → lex", "tokenizer"),
        (["--hops", "2", "--limit", "2"], "there is more: --limit", "unicode"),
        (["--kind", "chunk"], "nothing else is known of it", "tokenizer"),
    ],
)
def test_filters(options: list[str], said: str, silent: str, capsys: Output) -> None:
    assert main(["graph", "show", "parser", *options]) == 0

    out = capsys.readouterr().out
    assert said in out
    assert silent not in out


@pytest.mark.usefixtures("stored")
def test_json_holds_everything(capsys: Output) -> None:
    assert main(["graph", "show", "parser", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert main(["graph", "find", "tokenizer", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main(["graph", "path", "parser", "unicode tables", "--json"]) == 0
    way = json.loads(capsys.readouterr().out)

    assert shown["hops"] == {"parser": 0, "tokenizer": 1}
    assert shown["edges"][0]["span"] == {
        "path": "parser.py",
        "first_line": 3,
        "last_line": 4,
        "page": None,
    }
    assert found[0]["node"]["id"] == "tokenizer"
    assert list(way["nodes"]) == ["parser", "tokenizer", "unicode tables"]


@pytest.mark.usefixtures("stored")
def test_the_way_and_the_size_are_told(capsys: Output) -> None:
    assert main(["graph", "path", "parser", "unicode tables"]) == 0
    assert capsys.readouterr().out.startswith("parser [31m: 2 steps\n  parser")
    assert main(["graph", "path", "a headache", "parser"]) == 0
    assert capsys.readouterr().out == "there is no way of at most 6 steps\n"
    assert main(["graph", "size"]) == 0
    assert "imports" in capsys.readouterr().out


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "unicode parser"], "did you mean "),
        (["show", "zebra"], "nothing is known of 'zebra'"),
        (["show", "parser", "--kind", "animal"], "no node is of the kind 'animal'"),
        (["show", "parser", "--at", "yesterday"], "'yesterday' is no date"),
        (["show", "parser", "--html", "/nowhere/x.html"], "cannot write /nowhere/x.html"),
        (["copy", "home", "home"], "cannot be copied to itself"),
        (["copy", "gone.sqlite", "home"], "there is no graph store gone.sqlite"),
        (["copy", "home", "ftp://host"], "ftp://host is no address of a Neo4j"),
    ],
)
def test_wrong_use_is_said(arguments: list[str], said: str, capsys: Output) -> None:
    assert main(["graph", *arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.usefixtures("stored")
def test_a_store_is_copied_with_its_history(tmp_path: Path, capsys: Output) -> None:
    target = str(tmp_path / "backup.sqlite")

    assert main(["graph", "copy", "home", target]) == 0
    assert capsys.readouterr().out == f"Copied 9 nodes and edges to {target}\n"
    assert main(["graph", "copy", target, "home", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"copied": 9}

    assert main(["graph", "show", "parser", "--at", "2010-01-01"]) == 0
    assert capsys.readouterr().out.count("calls → lex") == 1


@pytest.mark.usefixtures("stored")
def test_a_store_is_not_copied_to_itself_under_another_name(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "backup.sqlite"
    assert main(["graph", "copy", "home", str(target)]) == 0
    before = target.read_bytes()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.sqlite").symlink_to(target)
    (tmp_path / "hard.sqlite").hardlink_to(target)
    capsys.readouterr()

    for other in ("backup.sqlite", "link.sqlite", "hard.sqlite"):
        assert main(["graph", "copy", str(target), other]) == 2
        assert f"{target} and {other} are the same file" in capsys.readouterr().err
    assert target.read_bytes() == before
