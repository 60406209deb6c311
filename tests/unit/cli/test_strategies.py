"""``reverie strategies`` over a real strategy memory; no model and no embedder is loaded."""

from __future__ import annotations

import asyncio
import builtins
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reverie.cli import main
from reverie.graphs.features import NAMES, features_version
from reverie.knowledge.strategies import Run, StrategyMemory, Trial

EMBEDDER = "made up"
FEATURES = (1.0, *(0.0 for _ in NAMES[1:]))
Rows = list[tuple[str, str, float | None]]


def remember(home: Path, rows: Rows) -> None:
    """One run per row: strategy, type of task, score."""

    async def write() -> None:
        path = home / "strategies.sqlite"
        memory = await StrategyMemory.open(path, embedder=EMBEDDER, dimension=4)
        for number, (strategy, task_type, score) in enumerate(rows):
            trial = Trial(
                strategy,
                0.5,
                answer="42",
                features=FEATURES,
                features_version=features_version(EMBEDDER),
                allowed=("direct", "dream"),
                tokens_in=100 * (1 + number % 2),
                calls=1,
                seconds=2.0,
                accepted=True,
            )
            run = Run(
                run_id=f"run-{number:03}",
                question=f"Why {task_type}?",
                strategy=strategy,
                propensity=0.5,
                task_type=task_type,
                trials=(trial,),
            )
            await memory.record(run, np.eye(4, dtype=np.float32)[len(task_type) % 4])
            if score is not None:
                await memory.score(run.run_id, score)
        await memory.close()

    asyncio.run(write())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def filled(home: Path) -> Path:
    """Direct gets worse, dream gets better; two answers wait."""
    rows: Rows = [("direct", "logic", 1.0 if n < 8 else 0.0) for n in range(12)]
    rows += [("dream", "causal", 0.0 if n < 8 else 1.0) for n in range(12)]
    rows += [("dream", "causal", None), ("direct", "causal", None)]
    remember(home, rows)
    return home


def table(out: str) -> dict[str, list[str]]:
    """The plain table's lines by their first word."""
    lines = [line.split() for line in out.splitlines()]
    return {line[0]: line for line in lines if line}


def test_an_empty_memory_says_what_to_do(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    assert main(["strategies"]) == 0

    out = capsys.readouterr().out
    assert f"nothing is recorded yet in {home / 'strategies.sqlite'}" in out
    assert "reverie ask" in out
    assert "reverie feedback" in out
    assert not home.exists()

    assert main(["strategies", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["strategies"] == []


@pytest.mark.usefixtures("filled")
def test_the_table_tells_uses_success_cost_and_trend(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["strategies"]) == 0

    out = capsys.readouterr().out
    lines = table(out)
    assert lines["strategy"][1:5] == ["uses", "scored", "success", "tokens"]
    # 8 of 12 right: Wilson's interval for .667 and n = 12.
    assert lines["direct"][1:5] == ["13", "12", "0.67", "(0.39-0.86)"]
    assert lines["direct"][-5] == "↓"
    assert lines["dream"][1:4] == ["13", "12", "0.33"]
    assert lines["dream"][-5] == "↑"
    assert lines["chain_of_thought"][1] == "0"
    assert "24 outcomes, 2 pending" in out
    assert "2 kinds of tasks" in out


@pytest.mark.usefixtures("filled")
def test_a_terminal_without_signs_gets_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(sys.stdout), "encoding", "ascii", raising=False)

    assert main(["strategies"]) == 0

    out = capsys.readouterr().out
    assert out.isascii()
    assert table(out)["direct"][-5] == "down"


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("options", [[], ["--by-type"], ["--prior"]])
def test_a_narrow_terminal_loses_no_name_and_no_number(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["strategies", *options]) == 0
    wide = capsys.readouterr().out.splitlines()
    monkeypatch.setenv("TERM", "dumb")  # 80 columns
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    assert main(["strategies", *options]) == 0

    narrow = capsys.readouterr().out
    rows = [line for line in wide if "direct" in line.split()[:2]]
    assert rows
    for word in (w for line in (wide[0], *rows) for w in line.split()):
        assert word in narrow.split()
    tables = narrow[: narrow.index("the choice explores")]
    assert max(map(len, tables.splitlines())) <= 80


@pytest.mark.usefixtures("filled")
def test_by_type_of_task(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["strategies", "--by-type"]) == 0

    rows = [line.split()[:4] for line in capsys.readouterr().out.splitlines()[1:4]]
    assert rows == [
        ["causal", "dream", "13", "12"],
        ["causal", "direct", "1", "0"],
        ["logic", "direct", "12", "12"],
    ]


@pytest.mark.usefixtures("filled")
def test_prior_and_posterior_can_be_inspected(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["strategies", "--prior"]) == 0

    lines = table(capsys.readouterr().out)
    assert lines["strategy"] == ["strategy", "prior", "posterior", "outcomes", "chance", "latest"]
    assert lines["direct"][1:4] == ["0.50", "±", "0.50"]
    assert lines["direct"][7] == "12"
    assert lines["chain_of_thought"][-1] == "never"


@pytest.mark.usefixtures("filled")
def test_json_has_every_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["strategies", "--json"]) == 0

    document = json.loads(capsys.readouterr().out)
    by_name = {row["strategy"]: row for row in document["strategies"]}
    assert by_name["direct"]["success"]["mean"] == pytest.approx(2 / 3)
    assert by_name["direct"]["recent"] < by_name["direct"]["before"]
    assert len(by_name["direct"]["trend"]) == 6
    assert document["choice"]["outcomes"] == 24
    assert document["choice"]["pending"] == 2
    assert 0.0 <= document["choice"]["entropy"] <= 1.0
    assert document["choice"]["shifts"] == 0
    latest = {arm["strategy"]: arm["staleness"] for arm in document["choice"]["arms"]}
    assert latest["direct"] >= 0
    assert latest["chain_of_thought"] is None
    chances = [arm["chance"] for arm in document["choice"]["arms"]]
    assert sum(chances) == pytest.approx(1.0)
    assert {kind["tasks"] for kind in document["kinds"]} == {12, 14}


@pytest.mark.usefixtures("filled")
def test_another_policy_is_evaluated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["strategies", "--evaluate", "direct"]) == 0
    assert "direct: estimated reward" in capsys.readouterr().out

    assert main(["strategies", "--evaluate", "uniform", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["evaluation"]
    assert found["choices"] == 24
    assert found["logged"]["mean"] == pytest.approx(0.5 - 0.02 * 0.15)

    assert main(["strategies", "--evaluate", "derict"]) == 2
    assert "did you mean direct?" in capsys.readouterr().err


def test_too_little_to_evaluate_by(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    remember(home, [("direct", "logic", None)])

    assert main(["strategies", "--evaluate", "uniform"]) == 2
    assert "too few" in capsys.readouterr().err


@pytest.mark.usefixtures("filled")
def test_a_picture_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "plot.png"

    assert main(["strategies", "--png", str(file)]) == 0

    assert file.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.endswith(f"drawn into {file}\n")


@pytest.mark.usefixtures("filled")
def test_a_picture_that_cannot_be_drawn_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    assert main(["strategies", "--png", str(tmp_path / "nowhere" / "plot.png")]) == 2
    assert "cannot write" in capsys.readouterr().err

    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    assert main(["strategies", "--png", str(tmp_path / "plot.png")]) == 2
    assert "pip install 'reverie[plots]'" in capsys.readouterr().err


def test_names_from_elsewhere_cannot_steer_the_terminal(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    remember(home, [("di\x1b[31mrect", "lo\x1bgic", 1.0)])

    assert main(["strategies"]) == 0
    assert main(["strategies", "--by-type"]) == 0

    assert "\x1b" not in capsys.readouterr().out
