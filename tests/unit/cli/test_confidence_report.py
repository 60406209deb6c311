"""``reverie strategies --confidence`` over a real calibration file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from reverie.cli import main
from reverie.knowledge.calibration import Calibrations, Outcome

MODEL = "a/model\x1b"


@pytest.fixture
def fitted(tmp_path: Path) -> None:
    """One model with 120 scored answers, 30 of which were right."""

    async def fit() -> None:
        drawn = np.random.default_rng(0)
        outcomes = [
            Outcome("direct", {"mean": float(drawn.uniform(0.5, 1))}, float(i % 4 == 0), str(i))
            for i in range(120)
        ]
        store = await Calibrations.open(tmp_path / "home" / "calibration.sqlite")
        assert await store.refit(MODEL, outcomes)
        await store.close()

    asyncio.run(fit())


def said(capsys: pytest.CaptureFixture[str], *more: str) -> Sequence[str]:
    assert main(["strategies", "--confidence", *more]) == 0
    return capsys.readouterr().out.splitlines()


def test_it_says_what_is_missing_and_makes_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))

    (line,) = said(capsys)

    assert line == (
        "confidence of smollm2 is uncalibrated: 0 right and 0 wrong answers are scored, and it "
        "takes 40, at least 8 of each kind"
    )
    assert not (tmp_path / "home" / "calibration.sqlite").exists()


@pytest.mark.usefixtures("fitted")
def test_it_shows_the_error_before_and_after(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))

    header, row, lacking = said(capsys)

    assert header.split()[:3] == ["model", "strategy", "form"]
    assert "\x1b" not in row
    cells = row.split()
    assert cells[-11:-6] == ["all", "platt", "1", "120", "0.25"]
    before, arrow, after = cells[-6:-3]
    assert arrow == "→"
    assert float(after) < float(before)
    assert lacking.startswith("confidence of smollm2 is uncalibrated")


@pytest.mark.usefixtures("fitted")
def test_the_same_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))

    document = json.loads("\n".join(said(capsys, "--json")))

    (one,) = document["calibrations"]
    assert (one["model"], one["outcomes"], one["right"]) == (MODEL, 120, 0.25)
    assert one["after"]["brier"] < one["before"]["brier"]
    assert document["uncalibrated"] == {"model": "smollm2", "scored": 0, "right": 0}
