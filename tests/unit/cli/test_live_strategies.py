"""What strategies other than dream show on a terminal and in a pipe."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from reverie.cli.panels import RunPicture
from reverie.cli.plain import plain_text
from reverie.cli.view import RunView
from reverie.cli.wording import ASCII, UNICODE, cost_parts
from tests.unit.cli.conftest import CHOICE, COST, FACT, USAGE

QUESTION = "What is 6 times 7?"
HOSTILE = "[red]x[/red]\n\x1b[31m\x1b]0;title\x07\u202e"

USE = {"tool": "calculator", "arguments": {"expression": "6*7"}, "result": "42", "error": ""}
FAILED = {"tool": "send", "arguments": {"to": "Ada", "n": 2}, "result": "", "error": "no post"}


def chosen(strategy: str, **other: Any) -> dict[str, Any]:
    return {"type": "strategy", "choice": {**CHOICE, "strategy": strategy, **other}}


def sample(branch: int, answer: str, **other: Any) -> dict[str, Any]:
    outcome = {
        "branch": branch,
        "label": f"sample {branch + 1}",
        "status": "ok",
        "answer": answer,
        "confidence": 0.81,
        "score": None,
        "usage": USAGE,
        "error": "",
        **other,
    }
    return {"type": "branch_finished", "branch": branch, "label": outcome["label"]} | {
        "outcome": outcome
    }


def started(branch: int) -> dict[str, Any]:
    return {"type": "branch_started", "branch": branch, "label": f"sample {branch + 1}"}


def candidate(branch: int, vote: float) -> dict[str, Any]:
    scores = {"vote": vote, "confidence": 0.81}
    return {"branch": branch, "label": f"sample {branch + 1}", "scores": scores, "total": vote}


VERDICT = {
    "type": "verdict",
    "verdict": {
        "winner": 0,
        "candidates": [candidate(0, 0.67), candidate(1, 0.67), candidate(2, 0.33)],
        "weights": {"vote": 1.0},
        "dissent": [2],
        "abstained": False,
        "why": "2 of 3 say the same, with 67% of the weight",
    },
}
SAMPLING = [
    chosen("self_consistency"),
    *(started(branch) for branch in range(4)),
    sample(0, "42"),
    sample(1, "It is 42."),
    sample(2, "49"),
    sample(3, "", status="failed", confidence=None, error="the time ran out"),
]
CALLING = [
    chosen("tools"),
    {"type": "tool_called", "tool": "calculator", "arguments": USE["arguments"]},
    {"type": "tool_returned", "use": USE},
    {"type": "tool_called", "tool": "send", "arguments": FAILED["arguments"]},
    {"type": "tool_returned", "use": FAILED},
]
WAITING = {
    "type": "waiting",
    "run_id": "r1",
    "form": {
        "name": "approve_tool",
        "question": "May the tool send be called with these arguments?",
        "about": {"tool": "send"},
        "reply_schema": {},
    },
}


def folded(events: list[Any]) -> RunView:
    view = RunView(QUESTION)
    for event in events:
        view.take(event)
    return view


def drawn(events: list[Any], width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(RunPicture(folded(events), UNICODE))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def rows(text: str, *beginnings: str) -> list[str]:
    """The lines that begin so, without white space in a row."""
    return [" ".join(line.split()) for line in text.splitlines() if line.startswith(beginnings)]


def test_samples_have_a_row_each_with_answer_and_numbers() -> None:
    none = UNICODE.none
    assert rows(drawn([*SAMPLING, VERDICT]), "Samples", "sample") == [
        "Samples vote confidence",
        "sample 1 42 0.67 0.81 winner",
        "sample 2 It is 42. 0.67 0.81",
        "sample 3 49 0.33 0.81 dissents",
        f"sample 4 the time ran out {none} {none} failed",
    ]


def test_the_verdict_on_samples_is_said_once() -> None:
    out = drawn([*SAMPLING, VERDICT])

    assert out.count("2 of 3 say the same") == 1
    assert out.count("sample 1") == 1
    assert "Verdict" not in out


def test_samples_grow_on_their_own_line() -> None:
    written = "A first thought.\nThen " + "a very long second one " * 9

    out = drawn([*SAMPLING[:3], {"type": "token", "branch": 0, "text": written}])

    (first,) = rows(out, "sample 1")
    assert first.startswith("sample 1 Then a very long")
    assert len(out.splitlines()) == len(drawn(SAMPLING[:3]).splitlines())


def test_a_long_answer_of_a_sample_is_shown_whole() -> None:
    answer = "word " * 60

    assert drawn([*SAMPLING[:2], sample(0, answer)]).count("word") == 60


def test_tool_calls_are_shown_with_what_came_of_them() -> None:
    assert rows(drawn(CALLING), "Tools") == ["Tools calculator(6*7) → 42"]
    assert "send(to=Ada, n=2) → failed: no post" in " ".join(drawn(CALLING).split())


def test_a_call_that_has_not_returned_is_open() -> None:
    assert rows(drawn(CALLING[:2]), "Tools") == ["Tools calculator(6*7) …"]
    assert folded(CALLING[:2]).stage == "Calling calculator"
    assert folded(CALLING[:3]).stage == "Thinking"


def test_long_arguments_and_results_are_clipped() -> None:
    use = {**USE, "arguments": {"expression": "1+" * 500}, "result": "9" * 5000}

    out = drawn([CALLING[0], {"type": "tool_returned", "use": use}])

    assert out.count("9") == 300
    assert out.count("1+") < 70


PART = {"question": "How many eggs in a dozen?", "answer": "12", "confidence": 0.9}


def test_parts_take_the_place_of_what_was_streamed() -> None:
    token = {"type": "token", "branch": None, "text": "There are twelve."}
    events = [chosen("decompose"), token, {"type": "sub_answered", "sub": PART}]

    lines = [line.strip() for line in drawn(events).splitlines()]

    assert "Parts     1 How many eggs in a dozen?" in lines
    assert "12" in lines
    assert "There are twelve." not in drawn(events)


def test_a_template_is_named() -> None:
    out = drawn([chosen("direct", template="check_units")], 120)

    assert "· with the template check_units" in out


def test_a_waiting_run_says_what_it_waits_for_until_it_goes_on() -> None:
    waiting = [chosen("tools"), WAITING]

    assert "Waiting for a person: May the tool send be called" in drawn(waiting)
    assert folded(waiting).stage == "Waiting for a person"
    assert "Waiting" not in drawn([*waiting, CALLING[-1]])
    assert drawn([*waiting, WAITING]) == drawn(waiting)  # said twice, shown once


def test_money_is_shown_where_it_is_counted() -> None:
    spent = {**COST["spent"], "money": 0.00123}
    limited = {**COST["limits"], "money": 0.05}

    assert cost_parts({**COST, "spent": spent, "limits": limited})[2] == "0.00123 of 0.05 money"
    assert cost_parts({**COST, "spent": spent})[2] == "0.00123 money"
    assert not any("money" in part for part in cost_parts(COST))


def test_facts_of_a_search_are_no_dreams() -> None:
    grounded = {"type": "grounded", "facts": [FACT], "note": ""}

    assert folded([chosen("search"), grounded]).stage == "Thinking"
    assert folded([chosen("dream"), grounded]).stage == "Preparing the dreams"
    assert folded(SAMPLING[:6]).stage == "Sampling: 1 of 4 finished"


@pytest.mark.parametrize("width", [20, 40, 59, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    events = [*SAMPLING, VERDICT, *CALLING, {"type": "sub_answered", "sub": PART}, WAITING]

    assert max(map(len, drawn(events, width).splitlines())) <= width


def test_text_is_never_markup_nor_control_codes() -> None:
    use = {"tool": HOSTILE, "arguments": {HOSTILE: HOSTILE}, "result": HOSTILE, "error": ""}
    part = {"question": HOSTILE, "answer": HOSTILE, "confidence": None}
    form = {**WAITING["form"], "question": HOSTILE}
    events = [
        chosen("tools", template=HOSTILE),
        {"type": "tool_returned", "use": use},
        {"type": "tool_returned", "use": {**use, "error": HOSTILE}},
        {"type": "tool_called", "tool": HOSTILE, "arguments": {}},
        {"type": "sub_answered", "sub": part},
        sample(0, HOSTILE, label=HOSTILE),
        {**WAITING, "form": form},
    ]

    for out in (drawn(events, 160), plain_text(folded(events), ASCII)):
        assert not set("\x1b\x07\u202e") & set(out)
        assert "[red]x[/red]" in out


def test_a_pipe_gets_the_same_in_lines() -> None:
    parts = {"type": "sub_answered", "sub": PART}
    events = [chosen("panel", template="steps"), *SAMPLING[1:], VERDICT, *CALLING[1:], parts]

    lines = plain_text(folded([*events, WAITING]), ASCII).splitlines()

    assert "template: steps" in lines
    assert lines[lines.index("tools:") + 1 :][:2] == [
        "  calculator(6*7) -> 42",
        "  send(to=Ada, n=2) -> failed: no post",
    ]
    assert lines[lines.index("parts:") + 1 :][:2] == ["  1 How many eggs in a dozen?", "    12"]
    at = lines.index("samples:")
    assert lines[at + 1] == "  sample 1: 42"
    assert lines[at + 4] == "  sample 4 failed: the time ran out"
    assert lines[-1] == "waiting for a person: May the tool send be called with these arguments?"
