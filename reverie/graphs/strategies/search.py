"""Search: look up what is known, and answer from it, with the facts that the answer rests on.

phrase → look_up → answer. Where nothing is found that is similar enough, or the facts found do not
answer the question, the strategy abstains: it never answers from the model's memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NotRequired

from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command

from reverie.errors import OutputInvalid
from reverie.graphs.attempt import answered, cut_off, failed
from reverie.graphs.call import SMALLEST_ANSWER
from reverie.graphs.confidence import signals_of, span
from reverie.graphs.context import Context
from reverie.graphs.ground import find_facts, within
from reverie.graphs.outside_text import as_data
from reverie.graphs.plain_words import plain_words, strings_in
from reverie.graphs.records import Attempt, Fact
from reverie.graphs.state import StrategyState
from reverie.graphs.step import Step, attempt_failed
from reverie.graphs.strategies.registry import strategy

if TYPE_CHECKING:
    from reverie.models.profile import ModelProfile

NAME = "search"

_MOST_QUERIES = 3
_QUERY_TOKENS = 96


class SearchState(StrategyState):
    """The strategy's own state."""

    queries: NotRequired[list[str]]
    facts: NotRequired[list[Fact]]


@strategy(NAME, cost=500, needs=("facts",), summary="look it up, and answer from what is found")
def build() -> StateGraph[SearchState, Context, SearchState, SearchState]:
    """START → phrase → look_up → answer → END, or END where nothing is found."""
    failing = attempt_failed(NAME)
    graph = StateGraph(SearchState, context_schema=Context)
    graph.add_node("phrase", _phrase, error_handler=failing)
    graph.add_node("look_up", _look_up, error_handler=failing)
    graph.add_node("answer", _answer, error_handler=failing)
    graph.add_edge(START, "phrase")
    return graph


async def _phrase(state: SearchState, runtime: Runtime[Context]) -> Command[Literal["look_up"]]:
    """What to look up: the question, and what a large model would search for."""
    queries = [state["question"]]
    async with Step(state, runtime, f"{NAME}.phrase") as step:
        if step.model.reverie_profile.dreams_own_triplets and step.left["calls"] > 1:
            messages = step.messages(f"{NAME}_queries", question=state["question"])
            room = step.left["tokens"] - 2 * await step.count(messages)
            if room > _QUERY_TOKENS + SMALLEST_ANSWER:
                reply = await step.ask(
                    "phrase",
                    messages,
                    max_tokens=_QUERY_TOKENS,
                    json_schema=_QUERIES,
                    shown=False,
                )
                queries += strings_in(reply.text, "queries")[:_MOST_QUERIES]
        return Command(update=step.update(queries=list(dict.fromkeys(queries))), goto="look_up")


async def _look_up(
    state: SearchState, runtime: Runtime[Context]
) -> Command[Literal["answer", "__end__"]]:
    """Find the facts, best first, each once."""
    async with Step(state, runtime, f"{NAME}.look_up") as step:
        found: dict[str, Fact] = {}
        for query in state.get("queries", []):
            for fact in await find_facts(query, step.resources, step.context):
                known = found.get(fact["id"])
                if known is None or known["similarity"] < fact["similarity"]:
                    found[fact["id"]] = fact
        best = sorted(found.values(), key=lambda fact: -fact["similarity"])
        facts = within(best[: step.context.max_facts], step.context.fact_tokens)
        why = (
            f"no stored fact is similar enough to the question ({step.context.min_similarity:g})"
            if step.context.max_facts
            else "looking up facts is switched off (ground.max_facts)"
        )
        step.write({"type": "grounded", "facts": facts, "note": "" if facts else why})
        if not facts:
            return Command(update=step.update(facts=[], attempt=_abstained(why)), goto="__end__")
        return Command(update=step.update(facts=facts), goto="answer")


async def _answer(state: SearchState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Answer from the facts, the best one last: a small model heeds most what it has just read."""
    facts = state.get("facts", [])[::-1]
    async with Step(state, runtime, f"{NAME}.answer") as step:
        reply = await step.ask(
            "answer",
            step.messages(NAME, question=state["question"], facts=_listed(facts)),
            max_tokens=step.context.answer_tokens,
            json_schema=_schema(step.model.reverie_profile, len(facts)),
            shown=False,
        )
        answer, cited = _read(reply.text, facts)
        if not answer or not cited:
            attempt = _abstained("the facts that were found do not answer the question")
            attempt["evidence"] = facts[::-1]
            return step.update(attempt=attempt, notices=cut_off(reply))
        attempt = answered(NAME, answer, signals_of(span(reply.tokens, answer)))
        attempt["evidence"] = cited
        return step.update(attempt=attempt, notices=cut_off(reply))


_QUERIES: dict[str, Any] = {
    "type": "object",
    "properties": {
        "queries": {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
            "maxItems": _MOST_QUERIES,
        }
    },
    "required": ["queries"],
    "additionalProperties": False,
}


def _listed(facts: Sequence[Fact]) -> str:
    return "\n".join(
        f"[{number}] {as_data(' -> '.join((fact['what'], fact['action'], fact['result'])))}"
        for number, fact in enumerate(facts, 1)
    )


def _schema(profile: ModelProfile, facts: int) -> dict[str, Any]:
    """The answer before the facts it rests on. A small model, which says of nothing that it does
    not know it, has to name one.
    """
    small = not profile.dreams_own_triplets
    numbers = {"type": "integer", "enum": list(range(1, facts + 1))}
    return {
        "type": "object",
        "properties": {
            "answer": plain_words(profile),
            "facts": {
                "type": "array",
                "items": numbers,
                "minItems": 1 if small else 0,
                "maxItems": min(2, facts) if small else facts,
            },
        },
        "required": ["answer", "facts"],
        "additionalProperties": False,
    }


def _read(text: str, facts: Sequence[Fact]) -> tuple[str, list[Fact]]:
    """The answer, and the facts that it names. Raises OutputInvalid."""
    from reverie.models.structured import read_json

    try:
        document = read_json(text)
    except ValueError as error:
        raise OutputInvalid(
            f"the answer is not the document that was asked for: {error}",
            hint="raise reason.answer_tokens, or use another model",
        ) from error
    if not isinstance(document, dict) or not isinstance(document.get("answer"), str):
        raise OutputInvalid("the answer is not the document that was asked for")
    cited = document.get("facts")
    numbers = dict.fromkeys(n for n in cited if type(n) is int) if isinstance(cited, list) else {}
    return document["answer"].strip(), [facts[n - 1] for n in numbers if 1 <= n <= len(facts)]


def _abstained(why: str) -> Attempt:
    return {**failed(NAME, "", why), "status": "abstained"}
