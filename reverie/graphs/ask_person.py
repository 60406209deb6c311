"""Asking a person for the answer before a run abstains.

The reason graph goes to ``ask_person`` instead of ``answer``. Whatever goes there first says so
with ``waiting_for_answer``: the node itself runs again from its start once the reply is there, and
so says nothing.
"""

from __future__ import annotations

from typing import Any

from langgraph.runtime import Runtime
from langgraph.types import interrupt

from reverie.graphs.attempt import answered
from reverie.graphs.context import Context
from reverie.graphs.events import Waiting
from reverie.graphs.forms import MOST_ASKED, Abstained, abstention_form, read_reply
from reverie.graphs.state import ReasonState

PERSON = "person"
"""The strategy of an attempt that a person made."""


def waiting_for_answer(state: ReasonState) -> Waiting:
    """The event that the run waits for a person's answer to its question."""
    form = abstention_form(state["question"], state["attempts"])
    return {"type": "waiting", "run_id": state["run_id"], "form": form}


async def ask_person(state: ReasonState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Wait for a person; their answer becomes an attempt of its own, which none can outdo. Without
    one, or without a usable reply, the run abstains as it would have.
    """
    del runtime
    problem = ""
    for _ in range(MOST_ASKED):
        form = abstention_form(state["question"], state["attempts"], problem)
        reply = interrupt(form, response_schema=form["reply_schema"])
        try:
            answer = (read_reply(Abstained, reply).answer or "").strip()
        except ValueError as error:
            problem = str(error)
            continue
        if not answer:
            break
        attempt = answered(PERSON, answer)
        attempt |= {"confidence": 1.0, "calibrated": True}
        return {"attempts": [*state["attempts"], attempt]}
    return {}
