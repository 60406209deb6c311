"""The commands about runs, over a registry with runs in it."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

import pytest

from reverie.agents.history import RunStep
from reverie.cli import ask, fill_in
from reverie.cli.run import run
from reverie.errors import RunWaiting
from reverie.graphs.forms import approval_form
from reverie.knowledge.runs import RunRecord
from reverie.knowledge.runs.store import open_runs
from tests.unit.cli.conftest import Events, result

FORM: Any = approval_form("mail", "sends a mail", {"to": "you"})


Replay = Callable[..., list[Any]]


@pytest.fixture
def replay(monkeypatch: pytest.MonkeyPatch) -> Replay:
    """Let commands see these events, one list per run; returns what was asked for."""

    def install(*runs: Events) -> list[Any]:
        asked: list[Any] = []
        waiting = iter(runs)

        async def told(_: Any, kind: str, what: str, **options: Any) -> AsyncIterator[Any]:
            asked.append((kind, what, options))
            for item in next(waiting):
                yield item

        class Replayed:
            def __init__(self, settings: Any, *, report: Any = None) -> None:
                del settings, report

            async def __aenter__(self) -> Self:
                return self

            async def __aexit__(self, *_: object) -> None:
                return

            astream = functools.partialmethod(told, "ask")
            astream_resume = functools.partialmethod(told, "resume")
            astream_replay = functools.partialmethod(told, "replay")

        monkeypatch.setattr(ask, "import_reasoner", lambda: Replayed)
        return asked

    return install


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """With an interrupted run in it, and a finished one."""
    home = tmp_path / "home"
    store = open_runs(home)
    row = {
        "question": "What happens when you drop\x1b[31m a ball?",
        "context": "{}",
        "durability": "sync",
        "resumable": 1,
        "version": "0.1.0",
        "state_schema": 2,
        "updated": 1.0,
        "parent": "",
    }
    for number, run_id in enumerate(("3f9c02ab17de", "4a41f0c2d3e4")):
        values = {**row, "run_id": run_id, "created": float(number), "status": "running"}
        owner = store.registry._start(values)
        end = {"status": "interrupted", "updated": 2.0}
        if number:
            end |= {"status": "finished", "strategy": "direct", "tokens": 120, "answer": "It falls"}
        store.registry._release(run_id, owner, end)
    store._database.close()
    return home


def test_the_runs_are_listed_newest_first(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["runs"]) == 0
    out = capsys.readouterr().out
    assert out.index("4a41f0c2d3e4") < out.index("3f9c02ab17de")
    assert "interrupted" in out
    assert "What happens when you drop [31m a ball?" in out  # without the escape
    assert "\x1b" not in out


def test_a_narrow_terminal_keeps_room_for_the_questions(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "dumb")  # 80 columns
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    assert run(["runs"]) == 0

    out = capsys.readouterr().out
    assert "What happens when you" in out
    assert "tokens" not in out
    assert max(map(len, out.splitlines())) <= 80


def test_the_runs_of_a_home_that_cannot_be_written(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = home / ".runs.sqlite.lock"
    lock.unlink(missing_ok=True)
    lock.mkdir()  # root may write everywhere, but not into a folder
    assert run(["runs"]) == 0
    assert "4a41f0c2d3e4" in capsys.readouterr().out


def test_the_runs_as_json(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["runs", "--json", "--limit", "1"]) == 0
    [one] = json.loads(capsys.readouterr().out)["runs"]
    assert (one["run_id"], one["status"], one["tokens"]) == ("4a41f0c2d3e4", "finished", 120)


def test_a_home_without_runs_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["runs"]) == 0
    assert "no run is recorded here yet" in capsys.readouterr().out


def step(checkpoint: str, *next_: str) -> RunStep:
    return RunStep(checkpoint, 1.5, ("recall",), next_, 120, 1, 7880)


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reasoner that knows one run."""

    class Knowing:
        def __init__(self, settings: Any) -> None:
            del settings

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None:
            return

        async def afind(self, run_id: str) -> RunRecord:
            return RunRecord(
                *(run_id, "Why?", {}, "waiting", "sync", True, "0.1.0", 2, 0.0, 2.0),
                form=FORM,
                parent="beef@1",
            )

        async def ahistory(self, run_id: str) -> list[RunStep]:
            return [step("1f0-000000000001", "select"), step("1f0-000000000002")]

    monkeypatch.setattr(ask, "import_reasoner", lambda: Knowing)


def test_a_run_shows_its_steps(looked_up: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["runs", "3f9c"]) == 0
    out = capsys.readouterr().out
    assert "begun from: beef@1" in out
    assert "May the tool mail be called" in out
    assert "000000000001" in out
    assert "end" in out


def test_a_run_and_its_steps_as_json(looked_up: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["runs", "3f9c", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["status"] == "waiting"
    assert document["steps"][0]["next"] == ["select"]


# -- resume and replay -----------------------------------------------------------------------


def test_resuming_shows_the_run_and_its_answer(
    events: Events, replay: Replay, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = replay(events)
    assert run(["resume", "3f9c", "--quiet"]) == 0
    assert asked == [("resume", "3f9c", {"budget": None})]
    assert capsys.readouterr().out == "First it falls.\n"


def test_what_was_done_before_a_run_was_resumed_is_shown_too(
    events: Events, replay: Replay, capsys: pytest.CaptureFixture[str]
) -> None:
    """The events of a run that goes on in its third dream."""
    whole = run_and_read(events, replay, capsys)
    later = [e for e in events if not isinstance(e, dict) or e.get("branch") not in (0, 1)]
    before = ("recalled", "strategy", "grounded")
    later = [e for e in later if not isinstance(e, dict) or e["type"] not in before]

    shown = run_and_read(later, replay, capsys)

    facts = whole[whole.index("facts:") : whole.index("dreams:")]
    assert "  1 spatial: You can see it fall." in shown
    assert shown == whole.replace(facts, "")


def run_and_read(events: Events, replay: Replay, capsys: pytest.CaptureFixture[str]) -> str:
    replay(events)
    assert run(["resume", "3f9c"]) == 0
    return capsys.readouterr().out


def test_a_run_that_had_finished_shows_its_result(
    replay: Replay, capsys: pytest.CaptureFixture[str]
) -> None:
    replay([result()])
    assert run(["resume", "3f9c"]) == 0
    assert "question: What happens when you drop a ball?" in capsys.readouterr().out


def test_a_reply_is_json(
    events: Events, replay: Replay, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = replay(events)
    assert run(["resume", "3f9c", "--reply", '{"approve": true}', "--json"]) == 0
    assert asked == [("resume", "3f9c", {"budget": None, "reply": {"approve": True}})]
    assert json.loads(capsys.readouterr().out)["answer"] == "First it falls."

    assert run(["resume", "3f9c", "--reply", "yes"]) == 2
    assert "--reply is no JSON" in capsys.readouterr().err


def test_a_run_that_waits_is_said_where_nobody_can_be_asked(
    replay: Replay, capsys: pytest.CaptureFixture[str]
) -> None:
    replay([{"type": "waiting", "run_id": "3f9c02ab17de", "form": FORM}])
    assert run(["resume", "3f9c", "--json"]) == 1
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["type"] == "RunWaiting"
    assert "May the tool mail be called" in error["message"]
    assert "reverie resume 3f9c02ab17de --reply" in error["hint"]


def test_a_person_at_the_terminal_is_asked(
    events: Events,
    replay: Replay,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = replay([{"type": "waiting", "run_id": "3f9c02ab17de", "form": FORM}], events)
    monkeypatch.setattr(fill_in, "can_ask", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: True)
    monkeypatch.setattr("typer.prompt", lambda text, **_: "" if "arguments" in text else "fine")

    assert run(["ask", "Mail me", "--quiet"]) == 0

    assert asked[1] == (
        "resume",
        "3f9c02ab17de",
        {"budget": None, "reply": {"approve": True, "reason": "fine"}},
    )
    said = capsys.readouterr()
    assert said.out == "First it falls.\n"
    assert "May the tool mail be called with these arguments?" in said.err


def test_a_run_goes_on_with_another_budget(
    events: Events, replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = [{"type": "waiting", "run_id": "3f9c02ab17de", "form": FORM}]
    asked = replay(waiting, events)
    monkeypatch.setattr(fill_in, "can_ask", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: True)
    monkeypatch.setattr("typer.prompt", lambda *_, **__: "")

    assert run(["resume", "3f9c", "--budget", "20k", "--seconds", "90"]) == 2
    assert asked == []
    assert run(["resume", "3f9c", "--budget", "20000", "--seconds", "90", "--quiet"]) == 0

    for _, _, options in asked:  # also the reply's
        limits = options["budget"].model_dump(exclude_unset=True)
        assert limits == {"tokens": 20_000, "seconds": 90.0}
    assert "reply" in asked[1][2]


def test_a_replay_hands_its_changes_over(
    events: Events, replay: Replay, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = replay(events)
    command = ["replay", "3f9c", "--from", "select", "--strategy", "direct", "--budget", "900"]
    assert run([*command, "--seed", "3", "--quiet"]) == 0
    [(kind, run_id, options)] = asked
    assert (kind, run_id) == ("replay", "3f9c")
    # Only what was given: the other limits stay the run's.
    assert options["budget"].model_dump(exclude_unset=True) == {"tokens": 900}
    assert (options["from_"], options["strategy"], options["seed"]) == ("select", "direct", 3)


def test_a_replay_needs_a_place_to_begin(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["replay", "3f9c"]) == 2
    assert "--from" in capsys.readouterr().err


def test_what_a_run_waits_for_is_an_error_with_its_form() -> None:
    waiting = RunWaiting.of("3f9c", FORM)
    assert (waiting.run_id, waiting.form) == ("3f9c", FORM)
    asking = RunWaiting.of("3f9c", {**FORM, "question": "What now?"})
    assert "What now? reverie resume" in str(asking)
