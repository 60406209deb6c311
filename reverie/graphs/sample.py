"""One sample of a strategy that weighs several: a branch with a reservation, a prompt, a seed and a
label of its own. A failed one becomes a failed record; it never ends the run.

``plan`` makes the branches that the budget pays for, ``sample`` is the node that each is sent to,
and ``sample_failed`` its error handler. What comes of them is in ``written``, by branch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from langgraph.errors import NodeError
from langgraph.runtime import Runtime
from langgraph.types import Command
from typing_extensions import TypedDict

from reverie.errors import BudgetExceeded, OutputInvalid
from reverie.graphs.attempt import NO_SIGNALS, failed, failure_of
from reverie.graphs.budget import Entry, add_usage
from reverie.graphs.call import SMALLEST_ANSWER, CallFailed, Reply
from reverie.graphs.conclusion import CUE, conclusion, last_sentence, reasoned_answer, tokens_of
from reverie.graphs.confidence import signals_of
from reverie.graphs.context import MOST_SEED, Context
from reverie.graphs.records import Attempt, Limits, Sample, Signals
from reverie.graphs.shares import branch_shares
from reverie.graphs.state import StrategyState
from reverie.graphs.step import Step, spent_by

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage


_CUE_TOKENS = 8
"""What the cue, and joining the reply to it, may add to the second prompt."""


class Turn(TypedDict):
    """A part of a prompt: a prompt file, and what it is filled in with."""

    prompt: str
    values: dict[str, str]


class SampleTask(TypedDict):
    """What one branch is sent."""

    run_id: str
    started: float
    template: str
    strategy: str
    branch: int
    label: str
    turns: list[Turn]
    reasons: bool
    """Whether the answer comes after ``Answer:``; else the whole reply is the answer."""
    longest: int
    """Most tokens of the reply."""
    temperature: float
    seed: int
    scope: str
    """The reservation that pays for it."""
    left: Limits


class Written(TypedDict):
    """What became of a branch. For a failed one, the kind of error and what helps."""

    sample: Sample
    signals: Signals
    text: str
    """The whole reply, reasoning included."""
    error_type: str
    hint: str


def merge_written(left: Sequence[Written], right: Sequence[Written]) -> list[Written]:
    """By branch, a later record of a branch in place of an earlier one."""
    written = {one["sample"]["branch"]: one for one in (*left, *right)}
    return [written[branch] for branch in sorted(written)]


class SamplingState(StrategyState):
    """The state of a strategy that weighs samples."""

    planned: list[SampleTask]
    """Every branch that the budget pays for, also those that were not sent out yet."""
    written: Annotated[list[Written], merge_written]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A branch as a strategy wants it."""

    label: str
    turns: tuple[Turn, ...]
    temperature: float


async def plan(
    step: Step,
    wanted: Sequence[Wanted],
    *,
    reasons: bool,
    what: str = "sample",
    kept: int = 0,
    first: int = 0,
) -> tuple[list[SampleTask], list[Entry], list[str]]:
    """The branches of ``wanted`` that the budget pays for, in order, their reservations, and a
    notice if it does not pay for all. ``kept`` tokens, and one call, are kept back for each, for
    what comes after them; ``first`` is the number of the first branch; ``what`` is what one is
    called.

    Raises BudgetExceeded when not even one is affordable.
    """
    context, strategy = step.context, step.node.partition(".")[0]
    prompts = [await step.count(messages_of(step, one.turns)) for one in wanted]
    answer = max(context.answer_tokens, SMALLEST_ANSWER)
    longest = answer + (context.thought_tokens if reasons else 0)
    left = step.left
    # A reply that was cut off before its answer is gone on with once, which is another prompt.
    again = longest + max(prompts) if reasons else 0
    calls = 2 if kept else 1
    affordable: Limits = {**left, "calls": left["calls"] // calls}
    shares = branch_shares(
        affordable,
        [prompt + kept for prompt in prompts],
        smallest=min(longest, 2 * SMALLEST_ANSWER if reasons else SMALLEST_ANSWER),
        longest=longest + again,
        what=what,
    )
    twice = reasons and left["calls"] >= (calls + 1) * len(shares)
    ledger, entries, tasks = step.ledger, [], []
    for at, share in enumerate(shares):
        branch, tokens = first + at, share - kept
        task: SampleTask = {
            "run_id": step.run_id,
            "started": step.started,
            "template": step.template,
            "strategy": strategy,
            "branch": branch,
            "label": wanted[at].label,
            "turns": list(wanted[at].turns),
            "reasons": reasons,
            "longest": longest,
            "temperature": wanted[at].temperature,
            "seed": (context.seed + branch) % (MOST_SEED + 1),
            "scope": f"{step.scope or strategy}:{branch}",
            "left": {
                "tokens": tokens,
                "calls": 2 if twice else 1,
                "seconds": left["seconds"],
                "money": None if left["money"] is None else left["money"] / len(shares),
            },
        }
        entry = ledger.reserve(
            task["scope"], tokens, task["left"]["calls"], node=step.node, within=step.scope
        )
        ledger = ledger.plus(entry)
        entries.append(entry)
        tasks.append(task)
    notices = []
    if len(tasks) < len(wanted):
        notices.append(f"the budget pays for {len(tasks)} of {len(wanted)} {what}s")
    return tasks, entries, notices


async def sample(state: SampleTask, runtime: Runtime[Context]) -> dict[str, Any]:
    """The node of one branch: ask, and where the reply reasons, find its answer."""
    started = {"type": "branch_started", "branch": state["branch"], "label": state["label"]}
    runtime.stream_writer(started)
    node = f"{state['strategy']}.sample"
    async with Step(state, runtime, node, left=state["left"]) as step:
        messages = messages_of(step, state["turns"])
        reply = await step.ask(
            "sample",
            messages,
            max_tokens=await _room(step, state, messages),
            temperature=state["temperature"],
            seed=state["seed"],
            branch=state["branch"],
        )
        concluded = False
        tokens: Sequence[tuple[str, float]] = reply.tokens
        if not state["reasons"]:
            answer = reply.text.strip()
        else:
            answer, begin = reasoned_answer(reply.text)
            tokens = tokens_of(reply.tokens, answer, begin)
            concluded = not answer
            if concluded:
                answer, tokens = await _concluded(step, state, messages, reply)
        if not answer:
            raise OutputInvalid("it came to no answer")
        signals = signals_of(tokens)
        record: Sample = {
            "branch": state["branch"],
            "label": state["label"],
            "status": "ok",
            "answer": answer,
            "confidence": signals["mean"],
            "score": None,
            "usage": add_usage(entry["usage"] for entry in step.entries),
            "error": "",
        }
        finished(step.write, record)
        one: Written = {
            "sample": record,
            "signals": signals,
            "text": f"{reply.text.strip()}\n{CUE} {answer}" if concluded else reply.text.strip(),
            "error_type": "",
            "hint": "",
        }
        return step.update(written=[one], ledger=[_release(step)])


async def sample_failed(
    state: SampleTask, error: NodeError, runtime: Runtime[Context]
) -> Command[Literal["tally"]]:
    """A branch that raised: a failed record, charged with what it had cost.

    It names where to go: when all branches fail, nothing else takes the edge to the tally.
    """
    kind, message, hint = failure_of(error.error)
    spent = spent_by(error.error)
    record: Sample = {
        "branch": state["branch"],
        "label": state["label"],
        "status": "failed",
        "answer": "",
        "confidence": None,
        "score": None,
        "usage": add_usage(entry["usage"] for entry in spent),
        "error": message,
    }
    finished(runtime.stream_writer, record)
    step = Step(state, runtime, f"{state['strategy']}.sample", left=state["left"])
    one: Written = {
        "sample": record,
        "signals": NO_SIGNALS.copy(),
        "text": "",
        "error_type": kind,
        "hint": hint,
    }
    update = {"written": [one], "ledger": [*spent, _release(step)]}
    return Command(update=update, goto="tally")


def sampling_failed(
    strategy: str, state: SamplingState, error: NodeError, runtime: Runtime[Context]
) -> dict[str, Any]:
    """The update of a node that plans or weighs samples and raised: a failed attempt, and every
    reservation closed that may still be open, since nobody else would.
    """
    step = Step(state, runtime, f"{strategy}.{error.node}")
    planned = state.get("planned") or []
    return {
        "ledger": [
            *spent_by(error.error),
            *(step.ledger.release(task["scope"], node=step.node) for task in planned),
        ],
        "attempt": failed(strategy, *failure_of(error.error)),
    }


def messages_of(step: Step, turns: Sequence[Turn]) -> list[BaseMessage]:
    """The prompt that ``turns`` make up."""
    return [m for turn in turns for m in step.messages(turn["prompt"], **turn["values"])]


def finished(write: Any, record: Sample) -> None:
    """Report a branch's end."""
    event = {"type": "branch_finished", "branch": record["branch"], "label": record["label"]}
    write({**event, "outcome": record})


def told(step: Step, notices: Sequence[str]) -> Sequence[str]:
    """``notices``, said in the event stream."""
    for text in notices:
        step.write({"type": "notice", "text": text})
    return notices


def answered_by(written: Sequence[Written]) -> list[Sample]:
    """The samples that came to an answer, by branch."""
    return [one["sample"] for one in written if one["sample"]["status"] == "ok"]


def none_answered(strategy: str, written: Sequence[Written]) -> Attempt:
    """The attempt when every sample failed: with the error that they share, if they do."""
    samples = [one["sample"] for one in written]
    reasons = "; ".join(dict.fromkeys(s["error"] for s in samples))
    kinds = {one["error_type"] for one in written}
    kind, hint = "OutputInvalid", "try again, or --strategy direct"
    if len(kinds) == 1:
        kind, hint = kinds.pop(), next((o["hint"] for o in written if o["hint"]), "")
    number = f"all {len(samples)} samples" if len(samples) > 1 else "the only sample"
    attempt = failed(strategy, kind, f"{number} failed: {reasons}", hint)
    attempt["samples"] = samples
    return attempt


async def _concluded(
    step: Step, state: SampleTask, messages: Sequence[BaseMessage], written: Reply
) -> tuple[str, Sequence[tuple[str, float]]]:
    """The answer to a reply that ended before it, or went on without a word for it. Where the
    reservation does not pay for asking, or nothing comes of it, what the reasoning ended in.
    """
    thought = written.text.strip()
    ended = last_sentence(thought)
    wrote = tokens_of(written.tokens, ended, max(0, written.text.rfind(ended)))
    goes_on = step.model.reverie_profile.prefill
    opening = f"{thought}\n{CUE}" if goes_on else ""
    if not goes_on:
        turn = step.messages("chain_of_thought_conclude", thought=thought or CUE)
        messages = [*messages, *turn]
    left = step.left
    needed = await step.count(messages, opening) + SMALLEST_ANSWER
    if left["calls"] < 1 or left["tokens"] < needed:
        return ended, wrote
    try:
        reply = await step.ask(
            "conclude",
            messages,
            max_tokens=step.context.answer_tokens,
            prefill=opening,
            stop=("\n",) if goes_on else (),
            temperature=state["temperature"],
            seed=state["seed"],
            branch=state["branch"],
            hidden=thought if goes_on else "",
        )
    except CallFailed as failure:
        if not isinstance(failure.error, BudgetExceeded):
            raise
        return ended, wrote
    answer = conclusion(reply.text.removeprefix(opening))
    return (answer, tokens_of(reply.tokens, answer, 0)) if answer else (ended, wrote)


async def _room(step: Step, state: SampleTask, messages: Sequence[BaseMessage]) -> int:
    """How long the reply may be, so that the reservation pays for going on with it, too; all of it,
    where that would leave too little to reason.
    """
    if not state["reasons"] or state["left"]["calls"] < 2:  # the reply, and going on
        return state["longest"]
    twice = 2 * await step.count(messages) + SMALLEST_ANSWER + _CUE_TOKENS
    room = (state["left"]["tokens"] - twice) // 2
    return min(state["longest"], room) if room >= 2 * SMALLEST_ANSWER else state["longest"]


def _release(step: Step) -> Entry:
    return step.ledger.release(step.scope, node=step.node)
