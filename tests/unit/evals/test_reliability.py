"""Reliability: the numbers of worked examples, intervals that mean something, and the plot."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reverie.errors import ConfigError
from reverie.evals.bench import confidence as bench
from reverie.evals.reliability import (
    accuracy_at,
    auroc,
    draw_reliability,
    reliability,
    risk_coverage,
)


def test_risk_grows_with_coverage_as_in_a_worked_example() -> None:
    covered, risk = risk_coverage([0.9, 0.1, 0.8, 0.5], [1, 0, 1, 0])

    assert list(covered) == [0.25, 0.5, 0.75, 1.0]
    assert list(risk) == pytest.approx([0, 0, 1 / 3, 0.5])
    assert accuracy_at([0.9, 0.1, 0.8, 0.5], [1, 0, 1, 0], 0.5) == 1.0


def test_equally_sure_answers_count_as_in_a_random_order() -> None:
    """However they happen to be sorted: otherwise a constant confidence could look like skill."""
    for right in ([1, 1, 0, 0], [0, 0, 1, 1], [0, 1, 0, 1]):
        assert accuracy_at([0.7] * 4, right, 0.5) == pytest.approx(0.5)
        assert auroc([0.7] * 4, right) == pytest.approx(0.5)


def test_auroc_is_the_share_of_pairs_in_order() -> None:
    said, came = [0.9, 0.6, 0.6, 0.2], [1, 1, 0, 0]

    pairs = [(a, b) for a, x in zip(said, came, strict=True) if x for b in (0.6, 0.2)]
    wanted = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs)
    assert auroc(said, came) == pytest.approx(wanted)
    assert auroc([0.1, 0.9], [1, 1]) != auroc([0.1, 0.9], [1, 1])  # NaN: nothing to tell apart


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    held = 0
    for seed in range(60):
        drawn = np.random.default_rng(seed)
        said = [drawn.random() for _ in range(200)]
        came = [float(drawn.random() < p) for p in said]
        found = reliability(said, came, seed=seed, resamples=200)
        assert found.brier.low <= found.brier.value <= found.brier.high
        held += found.brier.low <= 1 / 6 <= found.brier.high  # E[p(1 - p)] of a uniform p
    assert 50 <= held <= 60


def test_answers_to_one_question_are_drawn_together() -> None:
    drawn = np.random.default_rng(0)
    single = [(drawn.random(), float(drawn.random() < 0.5)) for _ in range(50)]
    said = [p for p, _ in single for _ in range(8)]
    came = [c for _, c in single for _ in range(8)]
    groups = [str(i) for i in range(50) for _ in range(8)]

    alone, together = reliability(said, came), reliability(said, came, groups=groups)

    def width(found: Any) -> float:
        return float(found.accuracy.high - found.accuracy.low)

    assert together.accuracy.value == alone.accuracy.value
    assert width(together) > 2 * width(alone)  # 50 questions are no 400


def test_the_plot_is_a_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "reliability.png"

    draw_reliability(path, {"raw": ([0.2, 0.9, 0.4], [0, 1, 1])}, title="three answers")

    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size > 5000


def test_without_matplotlib_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    with pytest.raises(ConfigError) as caught:
        draw_reliability(tmp_path / "x.png", {"raw": ([0.5], [1])})
    assert caught.value.hint == "pip install 'reverie[plots]'"


# -- the benchmark ------------------------------------------------------------------------------


def records(count: int) -> list[dict[str, Any]]:
    """Answers of a model that believes too much, two to each question."""
    drawn = np.random.default_rng(1)
    lines = []
    for number in range(count):
        for strategy, share in (("direct", 0.4), ("chain_of_thought", 0.8)):
            said = drawn.uniform(0.5, 1)
            lines.append(
                {
                    "family": "lcm",
                    "id": f"lcm-1-{number}",
                    "seed": 1,
                    "number": number,
                    "strategy": strategy,
                    "question": "?",
                    "status": "ok",
                    "answer": "1",
                    "right": int(drawn.random() < said * share),
                    "signals": {
                        "mean": said,
                        "weakest": said**2,
                        "agreement": None,
                        "verifier": None,
                    },
                    "confidence": said,
                    "tokens_in": 9,
                    "tokens_out": 1,
                    "tokens": 10,
                    "calls": 1,
                    "seconds": 0.1,
                    "error": "",
                    "error_type": "",
                }
            )
    return lines


def written(tmp_path: Path, lines: list[dict[str, Any]]) -> Path:
    path = tmp_path / "records.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_the_benchmark_fits_and_measures_on_different_questions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "SPLITS", 2)
    path = written(tmp_path, records(400))

    assert bench.main(["--records", str(path), "--json"]) == 0

    document = json.loads(capsys.readouterr().out)
    main, strategies, _, forms = document["tables"]
    assert document["facts"]["answers"] == 800
    fitted = document["facts"]["fitted to"]
    assert fitted % 2 == 0  # both answers to a question are on one side
    assert sum(row["answers"] for row in strategies["rows"]) + fitted == 800
    before, after = (float(main["rows"][0][c].split()[0]) for c in ("raw score", "calibrated"))
    assert after < before / 2
    assert [row["strategy"] for row in forms["rows"]] == ["all", "chain_of_thought", "direct"]


def test_the_halves_share_no_question() -> None:
    halves = bench.split(records(300), seed=3)  # type: ignore[arg-type]  # records as they are read

    tested = {r["id"] for r in halves.tested}
    assert halves.fitted == 2 * (300 - len(tested))
    assert 100 < len(tested) < 200


@pytest.mark.parametrize("change", [{"right": 0}, {"status": "failed"}])
def test_too_little_to_measure_is_an_error(
    change: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, [line | change for line in records(300)])

    assert bench.main(["--records", str(path)]) == 2
    assert "too few to measure" in capsys.readouterr().err
