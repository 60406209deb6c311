"""Reflect: criticise an answer, then revise it (Self-Refine, Madaan et al. 2023, arXiv 2303.17651).

It criticises what was answered before in the run, or answers first. What the critique accepts is
not revised, and a revision is kept only if the model is not less sure of it than of the answer
before: small models rather spoil a right answer than mend a wrong one.
"""

from __future__ import annotations

from typing import Any, Literal

from langgraph.errors import NodeError
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command
from typing_extensions import TypedDict

from reverie.graphs.attempt import answered, cut_off, failed, failure_of
from reverie.graphs.budget import Entry, add_usage
from reverie.graphs.call import Reply
from reverie.graphs.conclusion import tokens_of
from reverie.graphs.confidence import raw_confidence, signals_of
from reverie.graphs.context import Context
from reverie.graphs.critique import fault_of, objection, plain_revision
from reverie.graphs.records import Attempt, Sample, Signals, Verdict
from reverie.graphs.same_answer import said, same
from reverie.graphs.sample import finished, told
from reverie.graphs.state import StrategyState
from reverie.graphs.step import Step, spent_by
from reverie.graphs.strategies.registry import strategy
from reverie.graphs.verify import LONGEST, verified

NAME = "reflect"

_STEPS = {"draft": 0, "critique": 1, "revise": 2}
"""The branch under which each is shown."""


class Draft(TypedDict):
    """An answer, what speaks for it, and what it cost here."""

    sample: Sample
    signals: Signals
    own: bool
    """Whether it was made here; else an earlier attempt's."""


class ReflectState(StrategyState):
    """The strategy's own state."""

    draft: Draft | None
    critique: str
    """What is wrong; empty: nothing was found."""


@strategy(
    NAME,
    cost=400,
    needs=("attempts",),
    summary="criticise an answer, and revise it if something is wrong",
)
def build() -> StateGraph[ReflectState, Context, ReflectState, ReflectState]:
    """START → draft → critique → (revise | END) → END."""
    graph = StateGraph(ReflectState, context_schema=Context)
    graph.add_node("draft", _draft, error_handler=_draft_failed)
    graph.add_node("critique", _critique, error_handler=_kept)
    graph.add_node("revise", _revise, error_handler=_kept)
    graph.add_edge(START, "draft")
    graph.add_edge("draft", "critique")
    graph.add_edge("revise", END)
    return graph


async def _draft(state: ReflectState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Take the last answer of this run, or answer."""
    async with Step(state, runtime, f"{NAME}.draft") as step:
        earlier = [a for a in state.get("attempts") or () if a["status"] == "ok"]
        if earlier:
            last = earlier[-1]
            record = _record("draft", f"{last['strategy']}'s answer", last["answer"], [])
            record["confidence"] = _own_confidence(last["signals"])
            draft: Draft = {"sample": record, "signals": last["signals"], "own": False}
            return step.update(draft=draft, critique="")
        _started(step, "draft", "answer")
        reply = await step.ask(
            "draft",
            step.messages(NAME, question=state["question"]),
            max_tokens=step.context.answer_tokens,
            branch=_STEPS["draft"],
        )
        record = _record("draft", "answer", reply.text.strip(), step.entries)
        signals = signals_of(reply.tokens)
        record["confidence"] = _own_confidence(signals)
        finished(step.write, record)
        draft = {"sample": record, "signals": signals, "own": True}
        attempt = answered(NAME, record["answer"], signals)
        update: dict[str, Any] = {"draft": draft, "critique": "", "notices": cut_off(reply)}
        if attempt["status"] == "failed":
            update |= {"draft": None, "attempt": attempt}
        return step.update(**update)


async def _critique(
    state: ReflectState, runtime: Runtime[Context]
) -> Command[Literal["revise", "__end__"]]:
    """Say what is wrong with the answer, if anything is."""
    draft = state["draft"]
    if draft is None:  # there is nothing to criticise: the attempt says why
        return Command(goto="__end__")
    answer = draft["sample"]["answer"]
    async with Step(state, runtime, f"{NAME}.critique") as step:
        _started(step, "critique", "critique")
        reply = await step.ask(
            "critique",
            step.messages("reflect_critique", asked=state["question"], answer=answer),
            max_tokens=step.context.answer_tokens,
            branch=_STEPS["critique"],
        )
        record = _record("critique", "critique", reply.text.strip(), step.entries)
        finished(step.write, record)
        found = objection(reply.text, answer, state["question"])
        if found:
            return Command(update=step.update(critique=found), goto="revise")
        attempt = _concluded(step, draft, None, "the critique found nothing wrong")
        return Command(update=step.update(attempt=attempt), goto="__end__")


async def _revise(state: ReflectState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Write the answer anew, and keep the better one of the two."""
    drafted = state["draft"]
    assert drafted is not None, "only what was criticised is revised"  # noqa: S101  # see _critique
    draft: Draft = {
        "sample": drafted["sample"].copy(),
        "signals": drafted["signals"].copy(),
        "own": drafted["own"],
    }
    async with Step(state, runtime, f"{NAME}.revise") as step:
        _started(step, "revise", "revision")
        before = draft["sample"]
        reply = await step.ask(
            "revise",
            step.messages(
                "reflect_revise",
                question=state["question"],
                answer=before["answer"],
                critique=state["critique"],
            ),
            max_tokens=step.context.answer_tokens,
            branch=_STEPS["revise"],
        )
        record, signals = _revision(reply, step)
        finished(step.write, record)
        fault = fault_of(record["answer"], state["critique"])
        if fault:
            record |= {"status": "failed", "answer": "", "error": fault}
            why = f"the answer before stays: the revision {fault}"
            return step.update(attempt=_concluded(step, draft, record, why), notices=[why])
        notices: list[str] = []
        await _verify(step, state["question"], draft, record, signals, notices)
        better, why = _compared(draft, record, signals, state["question"])
        attempt = _concluded(step, draft, record, why, signals if better else None)
        if better:
            notices += cut_off(reply)
        return step.update(attempt=attempt, notices=told(step, notices))


async def _draft_failed(
    state: ReflectState, error: NodeError, runtime: Runtime[Context]
) -> Command[Literal["__end__"]]:
    del state, runtime
    return Command(
        update={
            "ledger": spent_by(error.error),
            "attempt": failed(NAME, *failure_of(error.error)),
            "draft": None,
        },
        goto="__end__",
    )


async def _kept(
    state: ReflectState, error: NodeError, runtime: Runtime[Context]
) -> Command[Literal["__end__"]]:
    """A critique or revision that failed: what was drafted here stands. An earlier attempt's answer
    is that attempt's, so this one has failed.
    """
    kind, why, hint = failure_of(error.error)
    update: dict[str, Any] = {"ledger": spent_by(error.error)}
    draft = state["draft"]
    if draft is None or not draft["own"]:
        update["attempt"] = failed(NAME, kind, why, hint)
    else:
        step = Step(state, runtime, f"{NAME}.{error.node}")
        notice = f"answered without the {_NAMES[error.node]}: {why}"
        update["attempt"] = _concluded(step, draft, None, notice)
        update["notices"] = told(step, [notice])
    return Command(update=update, goto="__end__")


_NAMES = {"critique": "critique", "revise": "revision"}


def _revision(reply: Reply, step: Step) -> tuple[Sample, Signals]:
    """What the model wrote, without what it wrote before its answer."""
    text = plain_revision(reply.text)
    signals = signals_of(tokens_of(reply.tokens, text, max(0, reply.text.find(text))))
    record = _record("revise", "revision", text, step.entries)
    record["confidence"] = _own_confidence(signals)
    return record, signals


def _own_confidence(signals: Signals) -> float | None:
    """How sure the model is of its words, which is what two answers are compared by."""
    return raw_confidence({**signals, "verifier": None})


async def _verify(  # noqa: PLR0917  # both answers, and what is said of them
    step: Step,
    question: str,
    draft: Draft,
    record: Sample,
    signals: Signals,
    notices: list[str],
) -> None:
    """Ask the verifier, if there is one, of both answers."""
    if not step.context.verifier:
        return
    both = ((draft["sample"], draft["signals"]), (record, signals))
    for one, its in both:
        if its["verifier"] is None:
            seconds = min(LONGEST, step.left["seconds"])
            its["verifier"] = await verified(
                step.resources, step.context, question, one["answer"], notices, seconds=seconds
            )
        one["score"] = its["verifier"]


def _compared(draft: Draft, record: Sample, signals: Signals, question: str) -> tuple[bool, str]:
    """Whether the revision is kept, and why."""
    if same(said(record["answer"], question), said(draft["sample"]["answer"], question)):
        return False, "the revision says the same as the answer before"
    old, new = draft["signals"]["verifier"], signals["verifier"]
    by = "the verifier"
    if old is None or new is None:
        old, new = _own_confidence(draft["signals"]), _own_confidence(signals)
        by = "confidence"
    if old is None or new is None:
        return True, "revised after the critique; nothing tells how sure either answer is"
    numbers = f"{new:.2f} by {by}, the answer before {old:.2f}"
    if new < old:
        return False, f"the answer before stays: the revision has {numbers}"
    return True, f"the revision has {numbers}"


def _concluded(
    step: Step, draft: Draft, record: Sample | None, why: str, signals: Signals | None = None
) -> Attempt:
    """The attempt: the revision's with its ``signals``, else the draft's."""
    kept = record if record is not None and signals is not None else draft["sample"]
    attempt = answered(NAME, kept["answer"], signals or draft["signals"])
    samples = [draft["sample"], *([record] if record else [])]
    verdict: Verdict = {
        "winner": kept["branch"],
        "candidates": [
            {
                "branch": one["branch"],
                "label": one["label"],
                "scores": {"confidence": one["confidence"], "verifier": one["score"]},
                "total": one["score"] if one["score"] is not None else one["confidence"] or 0.0,
            }
            for one in samples
            if one["status"] == "ok"
        ],
        "weights": {},
        "dissent": [s["branch"] for s in samples if s is not kept and s["status"] == "ok"],
        "abstained": False,
        "why": why,
    }
    step.write({"type": "verdict", "verdict": verdict})
    attempt["samples"], attempt["verdict"] = samples, verdict
    return attempt


def _started(step: Step, name: str, label: str) -> None:
    step.write({"type": "branch_started", "branch": _STEPS[name], "label": label})


def _record(name: str, label: str, answer: str, entries: list[Entry]) -> Sample:
    return {
        "branch": _STEPS[name],
        "label": label,
        "status": "ok",
        "answer": answer,
        "confidence": None,
        "score": None,
        "usage": add_usage(entry["usage"] for entry in entries),
        "error": "",
    }
