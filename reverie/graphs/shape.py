"""Shaping: the answer as the JSON document that was asked for.

One call that the schema holds, over question, facts and answer, and one to repair what does not
obey it. What these calls may take is set aside when the run begins, so that no strategy uses it up.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from langgraph.errors import NodeError
from langgraph.runtime import Runtime
from langgraph.types import Command

from reverie.errors import BudgetExceeded, OutputInvalid
from reverie.graphs.acceptance import best_attempt
from reverie.graphs.attempt import failure_of
from reverie.graphs.budget import Entry, Ledger, ledger_of
from reverie.graphs.call import SMALLEST_ANSWER, CallFailed, Reply, prompt_tokens
from reverie.graphs.context import Context
from reverie.graphs.outside_text import as_data
from reverie.graphs.records import Attempt, Fact
from reverie.graphs.schema import check_document, require_schema
from reverie.graphs.state import ReasonState
from reverie.graphs.step import Step, spent_by

if TYPE_CHECKING:
    from reverie.graphs.resources import Resources

NAME = "shape"
"""The node, its reservation, and what its calls are charged to."""

_WRONG_TOKENS = 64
"""What it takes to say what is wrong with a document."""
_EXCERPT = 120


async def shape(state: ReasonState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Turn the best answer into a document that obeys the context's ``output_schema``.

    No call is made for an answer that is one already. Without an answer there is none to turn.
    """
    context = runtime.context
    best = best_attempt(state["attempts"], context)
    ledger = ledger_of(state, context)
    # From here on only this node spends: it may take what was set aside, and what is left.
    closing = [ledger.release(NAME, node=NAME)] if _is_set_aside(ledger) else []
    schema = context.output_schema
    if schema is None or best is None or best["status"] != "ok":
        return {"ledger": closing}
    ready = await asyncio.to_thread(_ready, best["answer"], schema)
    if ready is not None:
        return {"output": ready.document, "ledger": closing}
    books = {**state, "ledger": [*state["ledger"], *closing], "scope": ""}
    async with Step(books, runtime, NAME) as step:
        document = await _shaped(step, state["question"], best, schema)
        return step.update(output=document, ledger=closing)


async def shape_failed(
    state: ReasonState, error: NodeError, runtime: Runtime[Context]
) -> Command[Literal["answer"]]:
    """There is no document: ``answer`` raises why, after what it had cost is charged."""
    kind, message, hint = failure_of(error.error)
    ledger = ledger_of(state, runtime.context)
    closing = [ledger.release(NAME, node=NAME)] if _is_set_aside(ledger) else []
    update = {
        "ledger": [*closing, *spent_by(error.error)],
        "unshaped": {"error": message, "error_type": kind, "hint": hint},
    }
    return Command(update=update, goto="answer")


async def set_aside(question: str, resources: Resources, context: Context) -> list[Entry]:
    """The reservation for shaping the answer to ``question``, at the beginning of a run; none when
    no document was asked for.

    Raises ConfigError for a schema that cannot be used, and BudgetExceeded when the budget does not
    pay for a document beside an answer; the message names the smallest that would.
    """
    if context.output_schema is None:
        return []
    # In threads, here and below: checking takes imports and time.
    await asyncio.to_thread(require_schema, context.output_schema)
    # The clock has hardly begun, and nothing is spent yet.
    ledger = ledger_of({"started": 0.0, "ledger": []}, context)
    left = ledger.left()
    once, again = await _needed(question, resources, context)
    smallest = once + 2 * SMALLEST_ANSWER
    if left["tokens"] < smallest:
        raise BudgetExceeded(
            f"{left['tokens']} tokens are too few for an answer of the form that was asked for: "
            f"the document alone takes up to {once} tokens, its prompt included",
            hint=f"give --budget {2 * once} or more, or ask without a schema",
        )
    if left["calls"] < 2:
        raise BudgetExceeded(
            "an answer of the form that was asked for takes two model calls, and "
            f"{left['calls']} is left",
            hint="raise budget.calls, or ask without a schema",
        )
    repairs = left["calls"] > 2 and 2 * (once + again) <= left["tokens"]
    tokens = once + again if repairs else once
    return [ledger.reserve(NAME, tokens, 2 if repairs else 1, node=NAME)]


async def _needed(question: str, resources: Resources, context: Context) -> tuple[int, int]:
    """Tokens that a document, and its repair, take at most, prompts included."""
    schema = json.dumps(context.output_schema, ensure_ascii=False)
    prompt = resources.prompts.load(NAME)
    model = await resources.model(context.model, context.preview)
    messages = prompt.messages(schema=schema, question=question, facts="", answer="")
    facts = context.fact_tokens if context.max_facts else 0
    once = await prompt_tokens(model, messages) + context.answer_tokens + facts
    document = await _document_tokens(model, context)
    return once + document, once + 2 * document + _WRONG_TOKENS


async def _document_tokens(model: Any, context: Context) -> int:
    """How long a document may be: its words are the answer's, and its keys stand in the schema."""
    from langchain_core.messages import HumanMessage

    schema = json.dumps(context.output_schema, ensure_ascii=False)
    return context.answer_tokens + await prompt_tokens(model, [HumanMessage(schema)])


async def _shaped(step: Step, question: str, best: Attempt, schema: Mapping[str, Any]) -> Any:
    """The document. Raises OutputInvalid when the repaired one does not obey the schema either."""
    messages = step.messages(
        NAME,
        schema=json.dumps(schema, ensure_ascii=False),
        question=question,
        facts=_listed(best["evidence"]),
        answer=best["answer"],
    )
    most = await _document_tokens(step.model, step.context)
    text, wrong = "", ""
    for call in (NAME, "repair"):
        if wrong:
            repair = step.messages("shape_repair", document=text or "(nothing)", error=wrong)
            messages = [*messages, *repair]
        try:
            reply = await step.ask(call, messages, max_tokens=most, json_schema=schema, shown=False)
        except CallFailed as failure:
            # Where the server cannot be held to a schema, the client has asked twice already.
            held = step.model.reverie_profile.json_schema
            if not isinstance(failure.error, OutputInvalid) or not held or wrong:
                raise
            text, wrong = "", failure.error.message
            continue
        try:
            return await asyncio.to_thread(_document, reply.text, schema)
        except ValueError as error:
            text, wrong = reply.text, _what_is_wrong(reply, error)
    excerpt = " ".join(text.split())[:_EXCERPT]
    raise OutputInvalid(
        f"the answer could not be brought into the form that was asked for: {wrong}; the last "
        f"document begins {excerpt!r}",
        hint="use a larger model or a simpler schema, or raise reason.answer_tokens",
    )


def _what_is_wrong(reply: Reply, error: ValueError) -> str:
    return str(error) if reply.complete else "it was cut off: it has to be much shorter"


@dataclass(frozen=True, slots=True)
class _Ready:
    """An answer that is the document already, which may be null."""

    document: Any


def _ready(answer: str, schema: Mapping[str, Any]) -> _Ready | None:
    try:
        return _Ready(_document(answer, schema))
    except ValueError:
        pass
    if schema.get("type") == "string":  # the words themselves
        try:
            check_document(answer, schema)
        except ValueError:
            return None
        return _Ready(answer)
    return None


def _document(text: str, schema: Mapping[str, Any]) -> Any:
    from reverie.models.structured import read_json

    document = read_json(text)
    check_document(document, schema)
    return document


def _listed(facts: Sequence[Fact]) -> str:
    return "\n".join(
        f"Fact: {as_data(' -> '.join((f['what'], f['action'], f['result'])))}" for f in facts
    )


def _is_set_aside(ledger: Ledger) -> bool:
    kinds = {entry["id"] for entry in ledger.entries}
    return NAME in kinds and f"release:{NAME}" not in kinds
