"""The dream strategy: ground, dream several futures in parallel, arbitrate.

ground → one dream per branch, sent out together → arbitrate. Each branch has a reservation of the
budget and an expert to look through; one that fails or runs out of time becomes a failed record and
the others go on.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from typing import Any, Literal

from langgraph.errors import NodeError
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, Overwrite, Send

from reverie.graphs.arbitrate import arbitrate
from reverie.graphs.attempt import failed, failure_of, judged
from reverie.graphs.budget import Entry, add_usage, ledger_of
from reverie.graphs.call import SMALLEST_ANSWER
from reverie.graphs.confidence import mean_probability, span
from reverie.graphs.context import Context
from reverie.graphs.dream_prompt import DreamPrompt, dream_prompt, opening_for, read_dream
from reverie.graphs.ground import facts_for_branch, find_facts
from reverie.graphs.question import clean_question
from reverie.graphs.records import Attempt, Dream, Fact, Limits
from reverie.graphs.resources import find_resources
from reverie.graphs.shares import branch_shares
from reverie.graphs.state import BranchState, DreamState, Failure
from reverie.graphs.step import Step, spent_by

NAME = "dream"
_NODE = f"{NAME}.dream"

_WHOLE_DREAM = 64
"""Tokens that nearly every dream is whole within: one that is cut off is worth nothing, so fewer
dreams are sent out rather than shorter ones.
"""


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
    alone = not state.get("run_id")
    if alone:  # run by itself, as in Studio, there are no books yet, or those of the last time
        question = clean_question(state["question"])
        state = {**state, "question": question, "started": time.time(), "ledger": [], "scope": ""}
    async with Step(state, runtime, f"{NAME}.ground") as step:
        facts = await find_facts(state["question"], step.resources, context)
        shown = facts[: context.max_facts]
        step.write({"type": "grounded", "facts": shown, "note": _note(shown, context)})
        branches, entries = await _plan(step, state, facts)
        notices = []
        if len(branches) < context.branches:
            notices.append(f"the budget pays for {len(branches)} of {context.branches} dreams")
            step.write({"type": "notice", "text": notices[0]})
        update = step.update(
            question=state["question"],
            started=state["started"],
            facts=shown,
            dreams=Overwrite([]),
            failures=Overwrite([]),
            ledger=entries,
            notices=notices,
        )
        if alone:
            update["ledger"] = Overwrite(entries)
    return Command(update=update, goto=[Send("dream", branch) for branch in branches])


async def _dream(state: BranchState, runtime: Runtime[Context]) -> dict[str, Any]:
    """One branch: an answer and the triplets it follows from."""
    branch = state["branch"]
    started = {"type": "branch_started", "branch": branch, "label": state["expert"]}
    runtime.stream_writer(started)
    async with Step(state, runtime, _NODE, left=_left(state, runtime.context)) as step:
        context = step.context
        prompt = _prompt(step, state)
        # Where nothing tells a branch from another but its role, greedy it would dream the same.
        drawn = branch >= len(context.experts) or (branch > 0 and not prompt.opener)
        reply = await step.ask(
            "dream",
            prompt.messages,
            max_tokens=context.dream_tokens,
            prefill=prompt.prefill,
            json_schema=prompt.schema,
            temperature=context.temperature if drawn else 0.0,
            seed=state["seed"],
            branch=branch,
        )
        answer, triplets = read_dream(reply.text, state["facts"])
        written = span(reply.tokens, answer.removeprefix(prompt.opener))
        dream: Dream = {
            "branch": branch,
            "expert": state["expert"],
            "status": "ok",
            "answer": answer,
            "triplets": triplets,
            "confidence": mean_probability(written),
            "usage": reply.usage,
            "error": "",
        }
        return step.update(**_finished(state, runtime, dream))


async def _dream_failed(
    state: BranchState, error: NodeError, runtime: Runtime[Context]
) -> Command[Literal["arbitrate"]]:
    """A branch that raised: a failed record, charged with what it had cost.

    It names where to go: when all branches fail, nothing else takes the edge to arbitrate.
    """
    kind, message, hint = failure_of(error.error)
    spent = spent_by(error.error)
    dream: Dream = {
        "branch": state["branch"],
        "expert": state["expert"],
        "status": "failed",
        "answer": "",
        "triplets": [],
        "confidence": None,
        "usage": add_usage(entry["usage"] for entry in spent),
        "error": message,
    }
    update = _finished(state, runtime, dream)
    update["ledger"] = [*spent, *update["ledger"]]
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
    step: Step, state: DreamState, facts: Sequence[Fact]
) -> tuple[list[BranchState], list[Entry]]:
    """As many branches as the budget pays for, most wanted first, and their reservations.

    Raises BudgetExceeded when not even one is affordable.
    """
    context = step.context
    wanted: list[BranchState] = [
        {
            "question": state["question"],
            "run_id": step.run_id,
            "started": state["started"],
            "branch": branch,
            "expert": context.experts[branch % len(context.experts)],
            "facts": facts_for_branch(facts, context, branch, context.seed),
            "seed": context.seed + branch,
            "scope": f"{step.scope}:{NAME}:{branch}" if step.scope else f"{NAME}:{branch}",
            "template": step.template,
            "tokens": 0,
        }
        for branch in range(context.branches)
    ]
    prompts = [_prompt(step, branch) for branch in wanted]
    needed = await asyncio.gather(*(step.count(p.messages, p.prefill) for p in prompts))
    longest = max(context.dream_tokens, SMALLEST_ANSWER)  # fewer, no call is worth making for
    shares = branch_shares(
        step.left, needed, smallest=min(_WHOLE_DREAM, longest), longest=longest, what="dream"
    )
    branches = [
        BranchState(**{**branch, "tokens": tokens})
        for branch, tokens in zip(wanted, shares, strict=False)  # the last may get nothing
    ]
    ledger, entries = step.ledger, []
    for branch in branches:
        entry = ledger.reserve(
            branch["scope"], branch["tokens"], 1, node=step.node, within=step.scope
        )
        ledger = ledger.plus(entry)
        entries.append(entry)
    return branches, entries


def _prompt(step: Step, branch: BranchState) -> DreamPrompt:
    profile = step.model.reverie_profile
    return dream_prompt(
        branch["question"],
        branch["expert"],
        branch["facts"],
        own_triplets=profile.dreams_own_triplets,
        opening=opening_for(profile),
        fill=step.messages,
    )


def _left(state: BranchState, context: Context) -> Limits:
    """What a branch may use: its reservation, for as long as a dream may take."""
    seconds = math.inf if context.dream_seconds is None else context.dream_seconds
    return {"tokens": state["tokens"], "calls": 1, "seconds": seconds, "money": None}


def _finished(state: BranchState, runtime: Runtime[Context], dream: Dream) -> dict[str, Any]:
    """Report a branch's end, and refund the rest of its reservation."""
    finished = {"type": "branch_finished", "branch": dream["branch"], "label": dream["expert"]}
    runtime.stream_writer({**finished, "outcome": dream})
    books = ledger_of({"started": state["started"], "ledger": []}, runtime.context)
    return {"dreams": [dream], "ledger": [books.release(state["scope"], node=_NODE)]}


def _note(facts: Sequence[Fact], context: Context) -> str:
    if facts or context.max_facts == 0:
        return ""
    return f"no stored fact is similar enough to the question ({context.min_similarity:g})"


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
