"""``reverie sop``: list, show, match, run, add, remove."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from reverie.cli import ask
from reverie.cli.run import run
from reverie.graphs import resources as loaded
from reverie.knowledge.strategies import Run, StrategyMemory, Trial
from reverie.settings import Settings
from tests.unit.cli.conftest import Events
from tests.unit.conftest import ScriptedResources

WATER = """\
name: water_plants
description: Water the plants in the office
trigger: water the, plants
category: home
steps:
  - action: Count the plants
    check: {number: true}
  - action: Water them
    condition: they are dry
"""


@pytest.fixture
def water(tmp_path: Path) -> Path:
    path = tmp_path / "water.yaml"
    path.write_text(WATER)
    return path


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that need an embedder get the double's."""

    def made(settings: Settings, *, report: object = None) -> ScriptedResources:
        del report
        return ScriptedResources(settings)

    monkeypatch.setattr(loaded, "Resources", made)


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert run(["sop", *arguments]) == code
    out, err = capsys.readouterr()
    return out if code == 0 else out + err


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    return json.loads(said(capsys, *arguments, "--json"))


def test_a_fresh_home_lists_the_packaged_ones(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "list").splitlines()

    assert lines[0].split() == [
        *("name", "category", "version", "priority", "uses", "scored", "success"),
        *("trend", "state"),
    ]
    assert len(lines) == 11
    assert lines[4].split()[:4] == ["debug_python_code", "coding", "1", "8"]
    assert len(document(capsys, "list", "--category", "coding")["sops"]) == 3
    assert said(capsys, "list", "--category", "x") == "there are no SOPs of the category x\n"


def test_adding_changing_and_removing(capsys: pytest.CaptureFixture[str], water: Path) -> None:
    assert said(capsys, "add", str(water)) == "Added: water_plants, version 1, 2 steps\n"
    assert said(capsys, "add", str(water)) == "Unchanged: water_plants, version 1, 2 steps\n"
    water.write_text(WATER.replace("office", "house"))
    (added,) = document(capsys, "add", str(water))["added"]
    assert (added["number"], added["change"]) == (2, "version")

    shown = said(capsys, "show", "water_plants")
    assert "versions:" in shown
    assert "   when: they are dry (judged by the model)" in shown
    assert "   check: the result has a number" in shown
    assert document(capsys, "show", "water_plants@1")["current"] is False

    assert said(capsys, "remove", "water_plants").startswith("Removed: water_plants, version 2")
    error = said(capsys, "show", "water_plants", code=2)
    assert "error: there is no SOP called 'water_plants' any more" in error


def test_the_graph_of_a_procedure(capsys: pytest.CaptureFixture[str], water: Path) -> None:
    said(capsys, "add", str(water))

    drawn = said(capsys, "show", "water_plants", "--graph")

    assert drawn.startswith("flowchart TD\n")
    assert "check_1 -.-> when_2" in drawn
    assert "when_2 -.-> step_2_water_them" in drawn
    assert document(capsys, "show", "water_plants", "--graph") == {"mermaid": drawn}


@pytest.mark.usefixtures("scripted")
def test_a_match_shows_every_part_of_its_score(
    capsys: pytest.CaptureFixture[str], water: Path
) -> None:
    said(capsys, "add", str(water))

    found = document(capsys, "match", "Please water the plants", "--limit", "2")

    assert found["taken"] == "water_plants"
    first = found["matches"][0]
    assert set(first["parts"]) == {"trigger", "similarity", "success", "priority"}
    assert first["triggers"] == ["water the", "plants"]
    table = said(capsys, "match", "Please water the plants")
    assert "water_plants would be followed" in table


@pytest.mark.usefixtures("scripted")
def test_what_runs_came_to_is_listed(
    capsys: pytest.CaptureFixture[str], water: Path, tmp_path: Path
) -> None:
    said(capsys, "add", str(water))

    (stored,) = [s for s in document(capsys, "list")["sops"] if s["name"] == "water_plants"]
    trial = Trial("sop", 1.0, answer="12 plants.", sop=f"water_plants@{stored['version']}")

    async def fail() -> None:
        path = tmp_path / "home" / "strategies.sqlite"
        memory = await StrategyMemory.open(path, embedder="hashed words", dimension=64)
        for number in range(6):
            told = Run(f"run-{number}", "Water", "sop", 1.0, task_type="other", trials=(trial,))
            await memory.record(told, np.eye(64, dtype=np.float32)[0])
            await memory.score(told.run_id, 0.0)
        await memory.close()

    asyncio.run(fail())

    row = next(s for s in document(capsys, "list")["sops"] if s["name"] == "water_plants")
    assert (row["record"]["uses"], row["record"]["state"]) == (6, "demoted")
    line = next(x for x in said(capsys, "list").splitlines() if x.startswith("water_plants"))
    assert line.endswith("demoted")
    matched = document(capsys, "match", "Please water the plants", "--limit", "11")["matches"]
    why_not = {m["name"]: m["why_not"] for m in matched}
    assert why_not["water_plants"] == "demoted: it failed too often"
    assert document(capsys, "show", "water_plants")["by_type"]["other"]["uses"] == 6


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, events: Events) -> list[Any]:
    """Lets a run see these events; what it was asked."""
    seen: list[Any] = []

    class Replayed:
        def __init__(self, settings: Any, *, report: Any = None) -> None:
            self.settings = settings

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *ending: object) -> None:
            return

        async def astream(self, question: str, *, sop: str) -> AsyncIterator[Any]:
            seen.append((question, sop, self.settings.budget.tokens))
            for item in events:
                yield item

    monkeypatch.setattr(ask, "import_reasoner", lambda: Replayed)
    return seen


def test_a_run_goes_through_the_reasoner_as_a_question_does(
    capsys: pytest.CaptureFixture[str], asked: list[Any], water: Path
) -> None:
    said(capsys, "add", str(water))

    out = said(capsys, "run", "water_plants@1", "Now", "--budget", "900", "--quiet")

    assert out == "First it falls.\n"
    assert asked == [("Now", "water_plants@1", 900)]
    assert document(capsys, "run", "water_plants", "Now")["status"] == "answered"


def test_a_run_of_an_unknown_one_is_wrong_use_before_anything_is_loaded(
    capsys: pytest.CaptureFixture[str], asked: list[Any]
) -> None:
    out = said(capsys, "run", "debug_python", "Now", code=2)

    assert "hint: did you mean debug_python_code?" in out
    assert asked == []


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("steps: [", "expected the node content"),
        ("name: a", "description is missing"),
        (WATER.replace("trigger", "triger"), "there is no field 'triger': did you mean trigger?"),
    ],
)
def test_a_file_that_is_none_is_wrong_use_and_adds_nothing(
    text: str, error: str, capsys: pytest.CaptureFixture[str], water: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text(text)

    out = said(capsys, "add", str(water), str(broken), code=2)

    assert str(broken) in out
    assert error in out
    assert len(document(capsys, "list")["sops"]) == 10


def test_one_name_in_two_files_is_wrong_use(
    capsys: pytest.CaptureFixture[str], water: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(WATER)

    assert "both have an SOP called water_plants" in said(
        capsys, "add", str(water), str(other), code=2
    )
