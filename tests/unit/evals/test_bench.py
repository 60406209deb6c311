"""How benchmarks are chosen and shown."""

from __future__ import annotations

import importlib
import json
import sys
from types import ModuleType

import pytest

from reverie.errors import ModelUnavailable
from reverie.evals.bench import BENCHES, Goal, Progress, Report, Table
from reverie.evals.bench.__main__ import main

REPORT = Report(
    tables=(Table("Speed", ("", "seconds"), (("walk", 2.5), ("run", 1))),),
    goals=(Goal("run to walk", 0.5, 0.4), Goal("walk to run", 2.0, 2.5)),
    facts={"seed": 0},
)


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A benchmark ``speed`` that measures nothing and one ``broken`` that fails."""

    def run(repeats: int, progress: Progress) -> Report:
        progress(f"walking {repeats} times")
        return REPORT

    def fail(repeats: int, progress: Progress) -> Report:
        raise ModelUnavailable("no model", hint="fetch it")

    for name, function in {"speed": run, "broken": fail}.items():
        module = ModuleType(f"bench_{name}")
        vars(module)["run"] = function
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(BENCHES, name, module.__name__)


def test_tables_goals_and_facts_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["speed", "--repeats", "2"])

    printed, progress = capsys.readouterr()
    assert code == 0  # a goal that is not reached fails nothing
    assert progress == "  walking 2 times ...\n"
    assert "walk │    2.50" in printed
    assert "run to walk: 0.40, goal 0.50: reached" in printed
    assert "walk to run: 2.50, goal 2.00: not reached" in printed
    assert "seed 0" in printed


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    main(["speed", "--json"])

    document = json.loads(capsys.readouterr().out)["speed"]
    assert document["tables"][0]["rows"] == [
        {"": "walk", "seconds": 2.5},
        {"": "run", "seconds": 1},
    ]
    assert [goal["reached"] for goal in document["goals"]] == [True, False]
    assert document["facts"] == {"seed": 0}


def test_a_failure_is_one_line_and_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["broken"]) == 1

    assert capsys.readouterr().err == "error: no model\nhint: fetch it\n"


@pytest.mark.parametrize("wrong", [["sped"], ["speed", "--repeats", "0"]])
def test_wrong_use_exits_with_2(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(wrong)

    assert caught.value.code == 2


def test_every_registered_benchmark_can_be_run() -> None:
    for module in BENCHES.values():
        assert callable(importlib.import_module(module).run)
