"""The dream strategy: ground, dream several futures in parallel, arbitrate.

ground → one dream per branch, sent out together → arbitrate. Each branch has a reservation of the
budget and an expert to look through; one that fails or runs out of time becomes a failed record and
the others go on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Literal

from langgraph.errors import NodeError
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, Overwrite, Send

from reverie.errors import BudgetExceeded, OutputInvalid
from reverie.graphs.arbitrate import arbitrate
from reverie.graphs.attempt import failed, failure_of, judged
from reverie.graphs.budget import NO_USAGE, Entry, Ledger, ledger_of
from reverie.graphs.call import SMALLEST_ANSWER, CallFailed, call_model, prompt_tokens
from reverie.graphs.call_events import CallEvents
from reverie.graphs.confidence import mean_probability, span
from reverie.graphs.context import Context
from reverie.graphs.dream_prompt import DreamPrompt, dream_prompt, opening_for, read_dream
from reverie.graphs.ground import facts_for_branch, find_facts
from reverie.graphs.question import clean_question
from reverie.graphs.records import Attempt, Dream, Fact, Limits, Usage
from reverie.graphs.resources import find_resources
from reverie.graphs.state import BranchState, DreamState, Failure
from reverie.models.chat_model import ChatModel

NAME = "dream"

# JSON's keys, quotes and one triplet: a dream cut off before them is worth nothing.
_SMALLEST_DREAM = 2 * SMALLEST_ANSWER


def build() -> StateGraph[DreamState, Context, DreamState, DreamState]:
    """START → ground → dream (once per branch) → arbitrate → END."""
    graph = StateGraph(DreamState, context_schema=Context)
    graph.add_node("ground", _ground, error_handler=_ground_failed)
    graph.add_node("dream", _dream, input_schema=BranchState, error_handler=_dream_failed)
    graph.add_node("arbitrate", _arbitrate, error_handler=_arbitrate_failed)
    graph.add_edge(START, "ground")
    graph.add_edge("dream", "arbitrate")
    graph.add_edge("arbitrate", END)
    return graph


async def _ground(
    state: DreamState, runtime: Runtime[Context]
) -> Command[Literal["dream", "arbitrate"]]:
    """Find the facts, give every branch its reservation, and send the branches out."""
    context = runtime.context
    # In a thread: the default resources read the settings, which are files.
    resources = await asyncio.to_thread(find_resources, context.resources)
    alone = not state.get("run_id")
    if alone:  # run by itself, as in Studio, there are no books yet, or those of the last time
        question = clean_question(state["question"])
        state = {**state, "question": question, "started": time.time(), "ledger": []}
    facts = await find_facts(state["question"], resources, context)
    shown = facts[: context.max_facts]
    runtime.stream_writer({"type": "grounded", "facts": shown, "note": _note(shown, context)})
    model = await resources.model(context.model, context.preview)
    ledger = ledger_of(state, context)
    branches, notices = await _plan(state, facts, model, ledger, context)
    for notice in notices:
        runtime.stream_writer({"type": "notice", "text": notice})
    entries = [entry for entry, _ in branches]
    update = {
        "question": state["question"],
        "started": state["started"],
        "facts": shown,
        "dreams": Overwrite([]),
        "failures": Overwrite([]),
        "ledger": Overwrite(entries) if alone else entries,
        "notices": notices,
    }
    return Command(update=update, goto=[Send("dream", branch) for _, branch in branches])


async def _dream(state: BranchState, runtime: Runtime[Context]) -> dict[str, Any]:
    """One branch: an answer and the triplets it follows from."""
    context = runtime.context
    branch = state["branch"]
    started = {"type": "branch_started", "branch": branch, "label": state["expert"]}
    runtime.stream_writer(started)
    model = await find_resources(context.resources).model(context.model, context.preview)
    prompt = _prompt(state["question"], state, model)
    # Where nothing tells a branch from another but its role, greedy it would dream the same dream.
    drawn = branch >= len(context.experts) or (branch > 0 and not prompt.opener)
    reply = await call_model(
        model,
        prompt.messages,
        left=_left(state, context),
        max_tokens=context.dream_tokens,
        prefill=prompt.prefill,
        json_schema=prompt.schema,
        temperature=context.temperature if drawn else 0.0,
        seed=state["seed"],
        events=CallEvents(runtime.stream_writer, branch),
    )
    try:
        answer, triplets = read_dream(reply.text, state["facts"])
    except OutputInvalid as error:
        raise CallFailed(error, reply.usage) from error
    written = span(reply.tokens, answer.removeprefix(prompt.opener))
    update = _finished(
        state,
        runtime,
        {
            "branch": branch,
            "expert": state["expert"],
            "status": "ok",
            "answer": answer,
            "triplets": triplets,
            "confidence": mean_probability(written),
            "usage": reply.usage,
            "error": "",
        },
    )
    return {**update, "notices": list(reply.notices)}


async def _dream_failed(
    state: BranchState, error: NodeError, runtime: Runtime[Context]
) -> Command[Literal["arbitrate"]]:
    """A branch that raised: a failed record, charged with what it had cost.

    It names where to go: when all branches fail, nothing else takes the edge to arbitrate.
    """
    kind, message, hint = failure_of(error.error)
    usage = error.error.usage if isinstance(error.error, CallFailed) else NO_USAGE.copy()
    update = _finished(state, runtime, _failed_dream(state, message, usage))
    update["failures"] = [{"error_type": kind, "hint": hint}]
    return Command(update=update, goto="arbitrate")


async def _arbitrate(state: DreamState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Judge the dreams and return the attempt."""
    context = runtime.context
    dreams = state["dreams"]
    if not dreams:  # grounding failed or nothing was affordable: the attempt says so already
        return {}
    if not any(d["status"] == "ok" for d in dreams):
        return {"attempt": _all_failed(dreams, state["failures"])}
    embedder = await find_resources(context.resources).embedder()
    verdict = await arbitrate(dreams, state["facts"], embedder, abstain_below=context.abstain_below)
    runtime.stream_writer({"type": "verdict", "verdict": verdict})
    winner = next((d for d in dreams if d["branch"] == verdict["winner"]), None)
    return {
        "verdict": verdict,
        "attempt": judged(NAME, winner, verdict, dreams, state["facts"]),
    }


async def _ground_failed(
    state: DreamState,  # noqa: ARG001  # LangGraph calls handlers with the state first
    error: NodeError,
) -> Command[Literal["arbitrate"]]:
    attempt = failed(NAME, *failure_of(error.error))
    return Command(update={"facts": [], "dreams": [], "attempt": attempt}, goto="arbitrate")


async def _arbitrate_failed(
    state: DreamState,  # noqa: ARG001  # as above
    error: NodeError,
) -> dict[str, Any]:
    return {"attempt": failed(NAME, *failure_of(error.error))}


async def _plan(
    state: DreamState, facts: Sequence[Fact], model: ChatModel, ledger: Ledger, context: Context
) -> tuple[list[tuple[Entry, BranchState]], list[str]]:
    """As many branches as the budget pays for, each with its reservation, most wanted first.

    Raises BudgetExceeded when not even one is affordable.
    """
    left = ledger.left()
    longest = max(context.dream_tokens, SMALLEST_ANSWER)  # fewer, no call is worth making for
    smallest = min(_SMALLEST_DREAM, longest)
    planned: list[tuple[Entry, BranchState]] = []
    wanted = min(context.branches, left["calls"])
    for branch in range(wanted):
        candidate: BranchState = {
            "question": state["question"],
            "started": state["started"],
            "branch": branch,
            "expert": context.experts[branch % len(context.experts)],
            "facts": facts_for_branch(facts, context, branch, context.seed),
            "seed": context.seed + branch,
            "scope": f"{NAME}:{branch}",
            "tokens": 0,
        }
        prompt = _prompt(state["question"], candidate, model)
        needed = await prompt_tokens(model, prompt.messages, prompt.prefill)
        available = ledger.left()["tokens"]
        if available < needed + smallest and planned:
            break
        # An equal share of what is left, but no more than the longest dream could take.
        share = max(available // (wanted - branch), needed + smallest)
        candidate["tokens"] = min(needed + longest, share, available)
        if candidate["tokens"] < needed + smallest:
            raise _too_small(left, needed, smallest)
        entry = ledger.reserve(candidate["scope"], candidate["tokens"], 1, node=NAME)
        ledger = ledger.plus(entry)
        planned.append((entry, candidate))
    if not planned:
        raise BudgetExceeded("no model call is left in the budget", hint="raise budget.calls")
    notices = []
    if len(planned) < context.branches:
        notices.append(f"the budget pays for {len(planned)} of {context.branches} dreams")
    return planned, notices


def _prompt(question: str, branch: BranchState, model: ChatModel) -> DreamPrompt:
    profile = model.reverie_profile
    return dream_prompt(
        question,
        branch["expert"],
        branch["facts"],
        own_triplets=profile.dreams_own_triplets,
        opening=opening_for(profile),
    )


def _left(state: BranchState, context: Context) -> Limits:
    """What a branch may use: its reservation, and the time that is left for it."""
    seconds = Ledger(context.limits, (), state["started"], context.paused).left()["seconds"]
    if context.dream_seconds is not None:
        seconds = min(seconds, context.dream_seconds)
    return {"tokens": state["tokens"], "calls": 1, "seconds": seconds, "money": None}


def _finished(state: BranchState, runtime: Runtime[Context], dream: Dream) -> dict[str, Any]:
    """Report a branch's end, charge what it cost and refund the rest of its reservation."""
    finished = {"type": "branch_finished", "branch": dream["branch"], "label": dream["expert"]}
    runtime.stream_writer({**finished, "outcome": dream})
    ledger = Ledger(runtime.context.limits, (), state["started"], runtime.context.paused)
    scope = state["scope"]
    entries = [ledger.release(scope, node=NAME)]
    if dream["usage"]["calls"]:
        entries.insert(0, ledger.spend(scope, dream["usage"], node=NAME, scope=scope))
    return {"dreams": [dream], "ledger": entries}


def _failed_dream(state: BranchState, message: str, usage: Usage) -> Dream:
    return {
        "branch": state["branch"],
        "expert": state["expert"],
        "status": "failed",
        "answer": "",
        "triplets": [],
        "confidence": None,
        "usage": usage,
        "error": message,
    }


def _note(facts: Sequence[Fact], context: Context) -> str:
    if facts or context.max_facts == 0:
        return ""
    return f"no stored fact is similar enough to the question ({context.min_similarity:g})"


def _too_small(left: Limits, needed: int, dream: int) -> BudgetExceeded:
    return BudgetExceeded(
        f"{left['tokens']} tokens are too few for a single dream: the smallest budget that would "
        f"do is {needed + dream} tokens ({needed} for the prompt and {dream} for the dream)",
        hint=f"give --budget {needed + dream} or more, or --strategy direct",
    )


def _all_failed(dreams: Sequence[Dream], failures: Sequence[Failure]) -> Attempt:
    reasons = "; ".join(dict.fromkeys(d["error"] for d in dreams))
    message = f"all {len(dreams)} dreams failed: {reasons}"
    kinds = {failure["error_type"] for failure in failures}
    if len(kinds) == 1:
        attempt = failed(NAME, kinds.pop(), message, failures[0]["hint"])
    else:
        attempt = failed(NAME, "OutputInvalid", message, "try again, or --strategy direct")
    attempt["dreams"] = list(dreams)
    return attempt


graph = build().compile(name=NAME)
