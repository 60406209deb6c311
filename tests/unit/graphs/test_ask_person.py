"""A person who is asked before a run abstains; and the forms that people fill in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command

from reverie.graphs.ask_person import PERSON, ask_person, waiting_for_answer
from reverie.graphs.attempt import failed
from reverie.graphs.context import Context
from reverie.graphs.forms import (
    FORMS,
    Abstained,
    ApproveTool,
    abstention_form,
    approval_form,
    read_reply,
)
from reverie.graphs.outside_text import as_data
from reverie.graphs.records import Attempt
from reverie.graphs.state import ReasonState

ABSTAINED: Attempt = {**failed("search", "", "nothing is known"), "status": "abstained"}
STATE: Any = {"question": "Who?", "run_id": "r1", "attempts": [ABSTAINED]}


def graph() -> Any:
    built = StateGraph(ReasonState, context_schema=Context)
    built.add_node("ask_person", ask_person)
    built.add_edge(START, "ask_person")
    built.add_edge("ask_person", END)
    return built.compile(checkpointer=InMemorySaver())


async def replied(*replies: Any) -> Any:
    """The state once all replies were given."""
    asking, config = graph(), {"configurable": {"thread_id": "1"}}
    state = await asking.ainvoke(STATE, config, context=Context())
    for reply in replies:
        state = await asking.ainvoke(Command(resume=reply), config, context=Context())
    return state


async def test_a_persons_answer_is_an_attempt_that_nothing_outdoes() -> None:
    state = await replied({"answer": " Ada. "})

    first, second = state["attempts"]
    assert first == ABSTAINED
    assert (second["strategy"], second["status"], second["answer"]) == (PERSON, "ok", "Ada.")
    assert second["confidence"] == 1.0
    assert "__interrupt__" not in state


@pytest.mark.parametrize("reply", [{"answer": None}, {"answer": "  "}])
async def test_without_an_answer_the_abstention_stays(reply: dict[str, Any]) -> None:
    state = await replied(reply)

    assert state["attempts"] == [ABSTAINED]
    assert "__interrupt__" not in state


async def test_a_bad_reply_is_asked_again_but_not_without_end() -> None:
    (waiting,) = (await replied("Ada"))["__interrupt__"]
    assert waiting.value["question"].startswith("The last reply was no good (")
    assert waiting.value["about"]["attempts"][0]["why"] == "nothing is known"

    assert len((await replied("Ada", {"answer": "Ada"}))["attempts"]) == 2
    assert (await replied("Ada", 7, {"reply": "Ada"}))["attempts"] == [ABSTAINED]


def test_the_event_holds_the_form_that_the_node_asks_with() -> None:
    event = waiting_for_answer(STATE)

    assert event["form"] == abstention_form("Who?", [ABSTAINED])
    assert (event["type"], event["run_id"]) == ("waiting", "r1")


@pytest.mark.parametrize("name", FORMS)
def test_every_form_says_what_a_reply_may_hold(name: Any) -> None:
    form = approval_form("t", "Does.", {}) if name == "approve_tool" else abstention_form("Q?", [])

    assert form["name"] == name
    assert form["reply_schema"] == FORMS[name].model_json_schema()
    assert form["reply_schema"]["additionalProperties"] is False


@pytest.mark.parametrize(
    ("form", "reply", "why"),
    [
        (ApproveTool, None, "the reply"),
        (ApproveTool, {}, "approve: Field required"),
        (ApproveTool, {"approve": "true"}, "approve"),
        (ApproveTool, {"approve": True, "arguments": "x"}, "arguments"),
        (Abstained, {"answer": 7}, "answer"),
        (Abstained, {"answers": "x"}, "answers"),
        (Abstained, ["x"], "the reply"),
    ],
)
def test_what_is_no_reply_is_named(form: Any, reply: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_reply(form, reply)


@given(st.text())
def test_text_from_outside_never_marks_anything(text: str) -> None:
    data = as_data(text)

    assert "\n" not in data
    assert "<|" not in data
    assert "</" not in data
    assert "[INST]" not in data
    assert all(c.isprintable() or c in "\u200c\u200d" or c.isspace() for c in data)


def test_ordinary_text_stays_as_it_is() -> None:
    assert (
        as_data("3 < 4, [see] a->b; <3")
        == "3 < 4, [see] a->b; \N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}3"
    )
    assert as_data("hid\U000e0041den\u202e\x00") == "hidden"
    assert as_data(" two\n\n lines ") == "two lines"
    assert as_data("two\nlines", keep_lines=True) == "two\nlines"
