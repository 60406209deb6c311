"""``reverie feedback`` over a real strategy memory; only the embedder is replaced."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reverie.cli import main
from reverie.knowledge.strategies import Run, StrategyMemory, Trial
from reverie.models.embedder import MiniLM

RUN = "3f9c02ab17de"


@pytest.fixture
def vector() -> Any:
    return np.eye(1, MiniLM.dimension, dtype=np.float32)[0]


@pytest.fixture(autouse=True)
def _embedder(monkeypatch: pytest.MonkeyPatch, vector: Any) -> None:
    async def load(self: MiniLM, *, progress: Any = None) -> None:
        return

    async def embed(self: MiniLM, texts: Sequence[str]) -> Any:
        return np.stack([vector for _ in texts])

    monkeypatch.setattr(MiniLM, "load", load)
    monkeypatch.setattr(MiniLM, "embed", embed)


@pytest.fixture
def recorded(tmp_path: Path, vector: Any) -> None:
    """One run of the dream strategy that nobody has scored."""

    async def record() -> None:
        path = tmp_path / "home" / "strategies.sqlite"
        name, dimension = MiniLM.name, MiniLM.dimension
        memory = await StrategyMemory.open(path, embedder=name, dimension=dimension)
        await memory.record(Run(RUN, "Why \x1b[31mdoes a ball fall?", "dream", 1.0), vector)
        await memory.close()

    asyncio.run(record())


@pytest.mark.usefixtures("recorded")
def test_it_says_what_the_score_moved(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["feedback", RUN, "1"]) == 0

    assert capsys.readouterr().out == (
        f"Scored 1: run {RUN}, Why  [31mdoes a ball fall?\n"
        "dream is now expected to score 0.67 on this question (0.50 before), from 1 scored "
        "attempt\n"
    )


@pytest.mark.usefixtures("recorded")
def test_scoring_again_replaces_the_score(capsys: pytest.CaptureFixture[str]) -> None:
    main(["feedback", RUN, "1"])
    capsys.readouterr()

    assert main(["feedback", RUN[:4], "0"]) == 0

    out = capsys.readouterr().out
    assert "It replaces your earlier score\n" in out
    assert "score 0.33 on this question (0.67 before), from 1 scored attempt" in out


@pytest.mark.usefixtures("recorded")
def test_json_has_the_run_and_both_beliefs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["feedback", RUN, "0.5", "--json"]) == 0

    document = json.loads(capsys.readouterr().out)
    assert (document["run"]["run_id"], document["run"]["score"]) == (RUN, 0.5)
    assert (document["before"]["alpha"], document["after"]["alpha"]) == (1.0, 1.5)
    assert (document["replaced"], document["calibrated"]) == ("", False)


def test_other_attempts_of_the_run_are_told_of(
    tmp_path: Path, vector: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first attempt failed; a person thinks otherwise of the second than a verifier did."""

    async def record() -> None:
        path = tmp_path / "home" / "strategies.sqlite"
        name, dimension = MiniLM.name, MiniLM.dimension
        memory = await StrategyMemory.open(path, embedder=name, dimension=dimension)
        trials = (
            Trial("direct", 1.0, status="failed", error="OutputInvalid"),
            Trial("dream", 1.0, answer="It falls.", accepted=True),
        )
        run = Run(RUN, "Why?", "dream", 1.0, answer="It falls.", trials=trials)
        await memory.record(run, vector)
        await memory.score(RUN, 0.2, source="verifier", position=1)
        await memory.close()

    asyncio.run(record())

    assert main(["feedback", RUN, "1"]) == 0

    out = capsys.readouterr().out
    assert "It replaces the verifier\n" in out
    assert "direct of the same run got this score too where the answer was the same" in out


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("score", ["1.1", "nan", "inf", "good"])
def test_a_score_that_is_none_is_wrong_use(score: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["feedback", RUN, score]) == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    assert "number" in captured.err


@pytest.mark.usefixtures("recorded")
def test_an_unknown_run_names_the_ones_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["feedback", "ffffffff", "1"]) == 2

    assert RUN in capsys.readouterr().err
