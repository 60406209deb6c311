"""Best of n: several answers, each judged, and the best one taken (Cobbe et al. 2021, arXiv
2110.14168).

The registered verifier judges; without one the model itself does, by the probability that it calls
an answer right (Kadavath et al. 2022, arXiv 2207.05221). Answers that say the same are judged once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from langgraph.errors import NodeError
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, Overwrite, Send
from typing_extensions import TypedDict

from reverie.errors import BudgetExceeded
from reverie.graphs.attempt import answered, failure_of
from reverie.graphs.budget import Entry
from reverie.graphs.context import Context
from reverie.graphs.judge import judge, judge_cost
from reverie.graphs.records import Attempt, CandidateScores, Limits, Sample, Verdict
from reverie.graphs.sample import (
    SampleTask,
    SamplingState,
    Turn,
    Wanted,
    answered_by,
    none_answered,
    plan,
    sample,
    sample_failed,
    sampling_failed,
    told,
)
from reverie.graphs.step import Step, spent_by
from reverie.graphs.strategies.registry import strategy
from reverie.graphs.verify import LONGEST, verified
from reverie.graphs.vote import Tally, poll

NAME = "best_of_n"

EVEN = 0.5
"""What a candidate counts as that could not be judged while others were."""


class Judged(TypedDict):
    """What one distinct answer was given; ``branch`` is the candidate that speaks for it."""

    branch: int
    score: float | None


class JudgeTask(TypedDict):
    """What one judging is sent."""

    run_id: str
    started: float
    question: str
    answer: str
    branch: int
    scope: str
    left: Limits


def merge_judged(left: Sequence[Judged], right: Sequence[Judged]) -> list[Judged]:
    """By branch, a later one in place of an earlier one."""
    judged = {one["branch"]: one for one in (*left, *right)}
    return [judged[branch] for branch in sorted(judged)]


class BestState(SamplingState):
    """The strategy's own state."""

    groups: list[int]
    """Of each candidate that answered, the number of its answer."""
    judged: Annotated[list[Judged], merge_judged]


@strategy(NAME, cost=850, summary="several answers, each judged, the best one taken")
def build() -> StateGraph[BestState, Context, BestState, BestState]:
    """START → plan → sample (once per branch) → tally → judge (once per answer) → choose → END."""
    graph = StateGraph(BestState, context_schema=Context)
    graph.add_node("plan", _plan, error_handler=_failed)
    graph.add_node("sample", sample, input_schema=SampleTask, error_handler=sample_failed)
    graph.add_node("tally", _tally, error_handler=_failed)
    graph.add_node("judge", _judge, input_schema=JudgeTask, error_handler=_judge_failed)
    graph.add_node("choose", _choose, error_handler=_failed)
    graph.add_edge(START, "plan")
    graph.add_edge("sample", "tally")
    graph.add_edge("judge", "choose")
    graph.add_edge("choose", END)
    return graph


async def _plan(state: BestState, runtime: Runtime[Context]) -> Command[Literal["sample"]]:
    """Reserve for as many candidates, with their judging, as the budget pays for; send them out."""
    async with Step(state, runtime, f"{NAME}.plan") as step:
        turns = (Turn(prompt=NAME, values={"question": state["question"]}),)
        context = step.context
        # The first is what the model would say anyway; the others are drawn.
        wanted = [
            Wanted(f"candidate {n + 1}", turns, context.temperature if n else 0.0)
            for n in range(context.best_of)
        ]
        kept = 0
        if not context.verifier:
            kept = await judge_cost(step, state["question"]) + context.answer_tokens
        try:
            planned = await plan(step, wanted, reasons=False, what="candidate", kept=kept)
        except BudgetExceeded:  # a single one needs no judge
            planned = await plan(step, wanted[:1], reasons=False, what="candidate")
            planned[2].append(f"the budget pays for 1 of {context.best_of} candidates")
        tasks, entries, notices = planned
        update = step.update(
            planned=tasks,
            written=Overwrite([]),
            judged=Overwrite([]),
            groups=[],
            ledger=entries,
            notices=told(step, notices),
        )
        return Command(update=update, goto=[Send("sample", task) for task in tasks])


async def _tally(
    state: BestState, runtime: Runtime[Context]
) -> Command[Literal["judge", "choose"]]:
    """Find the answers that are distinct, and have each judged; a single one needs no judge."""
    async with Step(state, runtime, f"{NAME}.tally") as step:
        samples = answered_by(state["written"])
        tally, notices = await poll(step.resources, state["question"], samples)
        tasks, entries = await _judging(step, state, tally)
        distinct = len(tally.totals)
        if len(tasks) < distinct and distinct > 1:
            notices.append(f"the budget pays for judging {len(tasks)} of {distinct} answers")
        update = step.update(groups=list(tally.groups), ledger=entries, notices=told(step, notices))
        goto: Any = [Send("judge", task) for task in tasks] or "choose"
        return Command(update=update, goto=goto)


async def _judging(
    step: Step, state: BestState, tally: Tally
) -> tuple[list[JudgeTask], list[Entry]]:
    """One judging per distinct answer that the budget pays for, the most supported first."""
    groups = sorted(range(len(tally.totals)), key=lambda g: (-tally.totals[g], g))
    if len(groups) < 2:  # nothing to choose between
        return [], []
    tasks, entries, ledger = [], [], step.ledger
    for group in groups:
        candidate = tally.speaker(group)
        task: JudgeTask = {
            "run_id": step.run_id,
            "started": step.started,
            "question": state["question"],
            "answer": candidate["answer"],
            "branch": candidate["branch"],
            "scope": "",
            "left": {**ledger.left(step.scope), "tokens": 0, "calls": 0},
        }
        if not step.context.verifier:
            left = ledger.left(step.scope)
            tokens = await judge_cost(step, state["question"], candidate["answer"])
            if tokens > left["tokens"] or left["calls"] < 1:
                break
            scope = f"{step.scope or NAME}:judge:{candidate['branch']}"
            entry = ledger.reserve(scope, tokens, 1, node=step.node, within=step.scope)
            task |= {"scope": scope, "left": {**left, "tokens": tokens, "calls": 1}}
            ledger = ledger.plus(entry)
            entries.append(entry)
        tasks.append(task)
    return tasks, entries


async def _judge(state: JudgeTask, runtime: Runtime[Context]) -> dict[str, Any]:
    """Judge one answer: by the verifier if there is one, else by the model."""
    async with Step(state, runtime, f"{NAME}.judge", left=state["left"]) as step:
        notices: list[str] = []
        if step.context.verifier:
            score = await verified(
                step.resources,
                step.context,
                state["question"],
                state["answer"],
                notices,
                seconds=min(LONGEST, step.left["seconds"]),
            )
        else:
            score = await judge(step, state["question"], state["answer"], branch=state["branch"])
        closed = [step.ledger.release(state["scope"], node=step.node)] if state["scope"] else []
        one: Judged = {"branch": state["branch"], "score": score}
        return step.update(judged=[one], ledger=closed, notices=told(step, notices))


async def _judge_failed(
    state: JudgeTask, error: NodeError, runtime: Runtime[Context]
) -> Command[Literal["choose"]]:
    """A judging that raised: the answer is not judged, and the others are."""
    step = Step(state, runtime, f"{NAME}.judge", left=state["left"])
    closed = [step.ledger.release(state["scope"], node=step.node)] if state["scope"] else []
    notices = [f"an answer was not judged: {failure_of(error.error)[1]}"]
    update = {
        "judged": [{"branch": state["branch"], "score": None}],
        "ledger": [*spent_by(error.error), *closed],
        "notices": told(step, notices),
    }
    return Command(update=update, goto="choose")


async def _choose(state: BestState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Take the best candidate."""
    async with Step(state, runtime, f"{NAME}.choose") as step:
        samples = answered_by(state["written"])
        if not samples:
            return step.update(attempt=none_answered(NAME, state["written"]))
        judge_name = "verifier" if step.context.verifier else "judge"
        scores = _scores(state, samples)
        verdict = best(samples, state["groups"], scores, judge_name)
        step.write({"type": "verdict", "verdict": verdict})
        return step.update(attempt=_attempt(state, verdict, step.context))


async def _failed(
    state: BestState, error: NodeError, runtime: Runtime[Context]
) -> Command[Literal["__end__"]]:
    return Command(update=sampling_failed(NAME, state, error, runtime), goto="__end__")


def best(
    samples: Sequence[Sample],
    groups: Sequence[int],
    scores: Sequence[float | None],
    judge_name: str,
) -> Verdict:
    """The verdict on candidates that were given ``scores``, or, where none was, on how sure the
    model was of each. Ties go to the answer that more candidates gave, then to the surer one, then
    to the lower branch.
    """
    judged = any(score is not None for score in scores)
    candidates: list[CandidateScores] = []
    for one, group, score in zip(samples, groups, scores, strict=True):
        agreement = list(groups).count(group) / len(groups)
        own = one["confidence"] or 0.0
        total = own if not judged else EVEN if score is None else score
        candidates.append(
            {
                "branch": one["branch"],
                "label": one["label"],
                "scores": {
                    judge_name: score,
                    "confidence": one["confidence"],
                    "agreement": agreement,
                },
                "total": total,
            }
        )
    won = max(candidates, key=_rank)
    group = groups[candidates.index(won)]
    by = judge_name if judged else "confidence"
    return {
        "winner": won["branch"],
        "candidates": candidates,
        "weights": {by: 1.0},
        "dissent": [s["branch"] for s, g in zip(samples, groups, strict=True) if g != group],
        "abstained": False,
        "why": _why(won, candidates, by),
    }


def _scores(state: BestState, samples: Sequence[Sample]) -> list[float | None]:
    """What each candidate's answer was given, also those that another one spoke for."""
    group_of = {s["branch"]: g for s, g in zip(samples, state["groups"], strict=True)}
    given: Mapping[int, float | None] = {
        group_of[one["branch"]]: one["score"] for one in state["judged"]
    }
    return [given.get(group) for group in state["groups"]]


def _rank(candidate: CandidateScores) -> tuple[float, float, float, int]:
    scores = candidate["scores"]
    return (
        round(candidate["total"], 6),
        scores["agreement"] or 0.0,
        scores["confidence"] or 0.0,
        -candidate["branch"],
    )


def _why(won: CandidateScores, candidates: Sequence[CandidateScores], by: str) -> str:
    if len(candidates) == 1:
        return f"{won['label']} is the only one"
    if all(c["scores"]["agreement"] == 1 for c in candidates):
        return f"all {len(candidates)} candidates say the same"
    others = [c["total"] for c in candidates if c["total"] < won["total"]]
    lead = f", {won['total'] - max(others):.2f} ahead of the next" if others else ", as the others"
    return f"{won['label']} scores {won['total']:.2f} by {by}{lead}"


def _attempt(state: BestState, verdict: Verdict, context: Context) -> Attempt:
    won = next(w for w in state["written"] if w["sample"]["branch"] == verdict["winner"])
    mine = next(c for c in verdict["candidates"] if c["branch"] == verdict["winner"])["scores"]
    signals = won["signals"].copy()
    if len(verdict["candidates"]) > 1:
        signals["agreement"] = mine["agreement"]
    if context.verifier:  # the model's word for its own answer is no verification
        signals["verifier"] = mine["verifier"]
    attempt = answered(NAME, won["sample"]["answer"], signals)
    name = "verifier" if context.verifier else "judge"
    scored = {c["branch"]: c["scores"][name] for c in verdict["candidates"]}
    samples: list[Sample] = [
        {**w["sample"], "score": scored.get(w["sample"]["branch"])} for w in state["written"]
    ]
    attempt["samples"], attempt["verdict"] = samples, verdict
    return attempt
