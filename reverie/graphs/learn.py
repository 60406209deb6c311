"""Learning: store the run with every attempt, and what is known of their worth.

What a verifier said of an attempt is its score at once. Without one, a confidence that is
calibrated stands in for it, at a lower weight. Else the run stays pending, until feedback scores
it, and moves nothing. A dreamed triplet is a hypothesis until an outcome verifies it (confirm).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from langgraph.runtime import Runtime

from reverie.errors import KnowledgeUnavailable
from reverie.graphs.acceptance import best_attempt
from reverie.graphs.budget import ledger_of
from reverie.graphs.confidence import model_of, recalibrate
from reverie.graphs.confirm import CONFIRMED, DREAMED, winning_dream
from reverie.graphs.context import Context
from reverie.graphs.records import Attempt, Choice, Dream, sop_key
from reverie.graphs.resources import Resources, find_resources
from reverie.graphs.state import ReasonState
from reverie.knowledge.graph.triplet import Triplet, embedding_text, triplet_batch
from reverie.knowledge.strategies import Run, StrategyMemory, Trial

_UNJUDGED = 0.5
"""How important an answer is that nothing has judged."""


async def learn(state: ReasonState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Store the run and its dreams. A store that cannot be written does not take the answer away:
    it becomes a notice.
    """
    context = runtime.context
    if not context.remember:
        return {}
    resources = find_resources(context.resources)
    notices: list[str] = []
    try:
        await record_run(state, resources, context)
        await _keep_dreamed(state, resources, context)
        await _remember_answer(state, resources)
    except KnowledgeUnavailable as error:
        notices.append(f"this run was not stored, so it cannot be scored: {error}")
    for notice in notices:
        runtime.stream_writer({"type": "notice", "text": notice})
    return {"notices": notices}


async def record_run(
    state: ReasonState,
    resources: Resources,
    context: Context,
    status: Literal["pending", "failed"] = "pending",
) -> None:
    """Store the run with all its attempts, and score those that something has judged. A run that
    ended in an error is ``failed``; its ``state`` may be what it had come to by then.

    Raises KnowledgeUnavailable. Doing it again changes nothing.
    """
    attempts = state.get("attempts") or []
    best = best_attempt(attempts, context)
    used = next((i for i, attempt in enumerate(attempts) if attempt is best), None)
    choices = _choices(state, len(attempts))
    model = model_of(resources, context)
    trials = tuple(
        _trial(attempt, choice, model=model, accepted=i == used)
        for i, (attempt, choice) in enumerate(zip(attempts, choices, strict=True))
    )
    told = trials[used] if used is not None else trials[-1] if trials else _unmade(state, context)
    spent = ledger_of(state, context).spent
    run = Run(
        run_id=state["run_id"],
        question=state["question"],
        strategy=told.strategy,
        propensity=told.propensity,
        status=status,
        answer=state["answer"]["text"] if "answer" in state else "",
        tokens_in=spent["tokens_in"],
        tokens_out=spent["tokens_out"],
        calls=spent["calls"],
        seconds=spent["seconds"],
        task_type=_partial(state).get("memories", {}).get("task_type", ""),
        model=model,
        trials=trials,
    )
    memory = await resources.memory()
    await memory.record(run, await resources.question_vector(state["question"]))
    if await _score(run, attempts, memory, resources, context):
        await recalibrate(resources, model)


async def _score(
    run: Run,
    attempts: Sequence[Attempt],
    memory: StrategyMemory,
    resources: Resources,
    context: Context,
) -> bool:
    """Score what can be scored now; says whether a verifier did. Also attempts that were not good
    enough are scored: a strategy that always is rejected has to be seen to fail.
    """
    weight = resources.settings.learn.confidence_weight
    verified = False
    for position, (trial, attempt) in enumerate(zip(run.trials, attempts, strict=True)):
        verdict = attempt["signals"]["verifier"] if context.verifier else None
        if trial.status == "ok" and verdict is not None:
            await memory.score(run.run_id, verdict, source="verifier", position=position)
            verified = True
        elif trial.status == "ok" and trial.calibrated is not None and weight > 0:
            await memory.score(
                run.run_id,
                trial.calibrated,
                source="confidence",
                weight=weight,
                position=position,
            )
    if verified:
        await _fail_the_speechless(run, memory)
    return verified


async def _fail_the_speechless(run: Run, memory: StrategyMemory) -> None:
    """Where a verifier judged, an attempt that failed of itself was worth nothing."""
    for position, trial in enumerate(run.trials):
        if trial.is_at_fault:
            await memory.score(run.run_id, 0.0, source="verifier", position=position)


def _partial(state: ReasonState) -> Mapping[str, Any]:
    """The state of a run that may have ended early, or begun with an older version."""
    return state


def _unmade(state: ReasonState, context: Context) -> Trial:
    """What would have been attempted, had the run come to it."""
    choice = _partial(state).get("choice") or {}
    return Trial(choice.get("strategy", context.strategy), choice.get("propensity", 1.0), "failed")


def _choices(state: ReasonState, number: int) -> list[Choice]:
    """The choice behind every attempt. A state from before there were ``choices`` has the last."""
    choices = list(state.get("choices") or ())
    missing = number - len(choices)
    return [state["choice"]] * missing + choices if missing > 0 else choices[:number]


def _trial(attempt: Attempt, choice: Choice, *, model: str, accepted: bool) -> Trial:
    usage = attempt["usage"]
    seen: Mapping[str, Any] = choice  # one of an older version lacks what was added since
    return Trial(
        strategy=attempt["strategy"],
        propensity=choice["propensity"],
        status=attempt["status"],
        template=attempt["template"],
        forced=bool(seen.get("forced", False)),
        allowed=tuple(seen.get("candidates", ())),
        features=tuple(seen.get("features", ())),
        features_version=seen.get("features_version", ""),
        answer=attempt["answer"],
        confidence=attempt["confidence"],
        calibrated=attempt["confidence"] if attempt["calibrated"] else None,
        signals=attempt["signals"],
        tokens_in=usage["tokens_in"],
        tokens_out=usage["tokens_out"],
        calls=usage["calls"],
        seconds=usage["seconds"],
        accepted=accepted,
        model=model,
        error=attempt["error_type"],
        sop=sop_key(attempt),
    )


async def _keep_dreamed(state: ReasonState, resources: Resources, context: Context) -> None:
    """Write what was dreamed into the graph: facts where a verifier has confirmed the answer that
    follows, hypotheses otherwise.
    """
    dreamed = [
        Triplet(
            what=triplet["what"],
            action=triplet["action"],
            result=triplet["result"],
            status="fact" if _is_confirmed(attempt, dream, context) else "hypothesis",
            source=DREAMED,
            run=state["run_id"],
            branch=dream["branch"],
            expert=dream["expert"],
            model=_dreamer(dream, context),
            confidence=dream["confidence"],
        )
        for attempt in state["attempts"]
        for dream in attempt["dreams"]
        for triplet in dream["triplets"]
        if triplet["origin"] == "dreamed"
    ]
    if dreamed:
        embedder = await resources.embedder()
        vectors = await embedder.embed([embedding_text(t) for t in dreamed])
        await (await resources.facts()).write(triplet_batch(dreamed, vectors))


def _is_confirmed(attempt: Attempt, dream: Dream, context: Context) -> bool:
    verdict = attempt["signals"]["verifier"] if context.verifier else None
    return verdict is not None and verdict >= CONFIRMED and winning_dream(attempt) is dream


async def _remember_answer(state: ReasonState, resources: Resources) -> None:
    """The question and its answer, as important as the answer was good, where that is known."""
    answer = _partial(state).get("answer") or {}
    if not resources.settings.memory.remember_runs or not answer.get("text"):
        return
    same = [a for a in state["attempts"] if a["answer"] == answer["text"]]
    verdicts = [attempt["signals"]["verifier"] for attempt in same]
    known = [verdict for verdict in verdicts if verdict is not None]
    await (await resources.episodes()).remember(
        f"{state['question']}\n{answer['text']}",
        kind="run",
        source=state["run_id"],
        importance=max(known) if known else _UNJUDGED,
    )


def _dreamer(dream: Dream, context: Context) -> str:
    """The model that dreamed it."""
    answered = [use["name"] for use in dream["usage"]["backends"] if use["calls"]]
    return answered[-1] if answered else context.model
