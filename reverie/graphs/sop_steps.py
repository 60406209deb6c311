"""The steps that the model does, and what every kind of step shares."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from reverie.graphs.attempt import cut_off
from reverie.graphs.call import SMALLEST_ANSWER
from reverie.graphs.confidence import mean_probability, signals_of
from reverie.graphs.context import Context
from reverie.graphs.outside_text import as_data
from reverie.graphs.records import SopStepResult
from reverie.graphs.sop_plan import ANSWER, MOST_TRIES, SopPlan
from reverie.graphs.sop_state import SopFailure, SopState
from reverie.graphs.step import Step
from reverie.knowledge.sops.sop import SopStep

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

Node = Callable[[SopState, Runtime[Context]], Awaitable[Command[str]]]

MOST_KNOWN: Final = 2000
"""Characters of one earlier result in a prompt."""

_JOINING: Final = 16
"""Tokens that a step adds to a later prompt beside its action and its result."""

_STOP: Final = ("\nTask:", "\nStep ")
"""Where a model that goes on with the pattern of the prompt is stopped."""


def model_node(plan: SopPlan, number: int) -> Node:
    """The model does step ``number``, within its share of what is left."""
    action = plan.step(number).action

    async def step_node(state: SopState, runtime: Runtime[Context]) -> Command[str]:
        async with Step(state, runtime, f"sop.{plan.name(number)}") as step:
            messages = step_messages(step, plan, number, state)
            context = step.context
            if number == plan.last:  # the call itself clamps it
                most = max(context.answer_tokens, context.thought_tokens)
            else:
                wanted = context.answer_tokens
                most = await tokens_for(step, plan, number, state, messages, wanted)
            if not most:
                return too_little(step, plan, state)
            tries = state.get("tries", 0) + 1
            choices = _choices(plan.step(number)) if step.model.reverie_profile.json_schema else ()
            reply = await step.ask(
                str(tries),
                messages,
                max_tokens=most,
                json_schema={"type": "string", "enum": list(choices)} if choices else None,
                stop=() if choices else _STOP,
                # The second time in another way: the likeliest words were no good.
                temperature=context.temperature if tries > 1 else 0.0,
                seed=context.seed,
                shown=not choices,
            )
            text = _chosen(reply.text, choices) if choices else _once(reply.text)
            changes = {
                "draft": text,
                "tries": tries,
                "signals": signals_of(reply.tokens),
                "notices": cut_off(reply),
            }
            if not text:
                return not_good(step, plan, number, {**state, **changes}, "it is empty", changes)
            if plan.step(number).check:
                return Command(update=step.update(**changes), goto=plan.check(number))
            result = done(number, action, text, mean_probability(reply.tokens), tries)
            return went_well(step, plan, state, result, changes)

    return step_node


# -- what comes of a step ------------------------------------------------------------------------


def done(
    number: int, action: str, text: str, confidence: float | None, tries: int
) -> SopStepResult:
    return _result(number, action, "done", text, confidence, tries)


def went_well(
    step: Step, plan: SopPlan, state: SopState, result: SopStepResult, changes: Mapping[str, Any]
) -> Command[str]:
    """File the result, and go on."""
    sub = {
        "question": result["action"],
        "answer": result["result"],
        "confidence": result["confidence"],
    }
    step.write({"type": "sub_answered", "sub": sub})
    update = step.update(**{**changes, **filed(state, result)})
    return Command(update=update, goto=plan.entry(result["step"] + 1))


def filed(state: SopState, result: SopStepResult) -> dict[str, Any]:
    """The changes with which the next step begins."""
    results = [*state.get("results", []), result]
    return {"results": results, "tries": 0, "problem": "", "draft": "", "form": None, "asked": 0}


def not_good(  # noqa: PLR0917  # the step, where it stands, and what is wrong
    step: Step,
    plan: SopPlan,
    number: int,
    state: Mapping[str, Any],
    problem: str,
    changes: Mapping[str, Any],
    *,
    kind: str = "OutputInvalid",
    again: bool = True,
) -> Command[str]:
    """Do the step once more; the second time it has failed, and with it the procedure."""
    if again and state.get("tries", 0) < MOST_TRIES:
        update = step.update(**{**changes, "problem": problem})
        return Command(update=update, goto=plan.name(number))
    action = plan.step(number).action
    tries = state.get("tries", 0)
    result = _result(number, action, "failed", problem, None, tries)
    said = f"step {number} of {plan.sop.name} ({action}) failed: {problem}"
    failure: SopFailure = {
        "kind": kind,
        "message": said,
        "hint": "a larger model, or another procedure, may do it",
        "abstained": False,
    }
    results = [*state.get("results", []), result]
    return Command(
        update=step.update(**{**changes, "results": results, "failure": failure}), goto=ANSWER
    )


def skipped(number: int, action: str, why: str) -> SopStepResult:
    return _result(number, action, "skipped", why, None, 0)


def _result(  # noqa: PLR0917  # the fields of a record
    number: int,
    action: str,
    status: Literal["done", "skipped", "failed"],
    result: str,
    confidence: float | None,
    tries: int,
) -> SopStepResult:
    return {
        "step": number,
        "action": action,
        "status": status,
        "result": result,
        "confidence": confidence,
        "tries": tries,
    }


# -- prompts and budget --------------------------------------------------------------------------


def step_messages(step: Step, plan: SopPlan, number: int, state: SopState) -> list[BaseMessage]:
    """The prompt of a step; the second time with its result and what was wrong with it."""
    messages = step.messages(
        "sop_step",
        question=state["question"],
        known=known(state.get("results", [])),
        number=str(number),
        action=as_data(plan.step(number).action),
    )
    problem = state.get("problem", "")
    if not problem:
        return messages
    from langchain_core.messages import AIMessage

    draft = as_data(state.get("draft", ""), keep_lines=True)
    said = [AIMessage(draft)] if draft else []
    return [*messages, *said, *step.messages("sop_again", problem=as_data(problem))]


def _choices(step: SopStep) -> tuple[str, ...]:
    """What the result may be, where a check says so."""
    return next((check.one_of for check in step.check if check.one_of), ())


def _chosen(text: str, choices: Sequence[str]) -> str:
    """The choice in a reply that was held to them; the reply as it is when it holds none."""
    try:
        said = json.loads(text)
    except ValueError:
        return text.strip()
    return said if said in choices else text.strip()


def _once(text: str) -> str:
    """Without lines that only repeat the one before: small models may repeat one to the end."""
    lines = [line.rstrip() for line in text.strip().splitlines()]
    kept = [line for i, line in enumerate(lines) if not i or not line or line != lines[i - 1]]
    return "\n".join(kept)


def known(results: Sequence[SopStepResult]) -> str:
    """What the steps came to, as data: the model's own words, but it may have read others'."""
    lines = [
        f"Step {r['step']}: {as_data(r['action'])}\n"
        f"{as_data(r['result'], keep_lines=True)[:MOST_KNOWN]}\n"
        for r in results
        if r["status"] == "done"
    ]
    return "".join(lines)


async def tokens_for(  # noqa: PLR0917  # the step, where it stands, and its prompt
    step: Step,
    plan: SopPlan,
    number: int,
    state: SopState,
    messages: Sequence[BaseMessage],
    longest: int,
    *,
    final: bool = False,
) -> int:
    """How much a call may write, at most ``longest``: its step's share of what is left, and never
    so much that the last step could not be done, unless the call is the ``final`` one. 0: so little
    is left that it should not be made.
    """
    left = step.left
    prompt = await step.count(messages)
    if final:
        room = left["tokens"] - prompt
        return min(longest, room) if left["calls"] and room >= min(longest, SMALLEST_ANSWER) else 0
    to_come = plan.last - number + 1
    last = await step.count(step_messages(step, plan, plan.last, {**state, "problem": ""}))
    # What is written now stands in the last prompt again, below its action.
    last += -(-len(plan.step(number).action.encode()) // 2) + _JOINING
    room = (left["tokens"] - prompt - last - SMALLEST_ANSWER) // 2
    if room < SMALLEST_ANSWER or left["calls"] < 2:
        return 0
    share = left["tokens"] // to_come - prompt
    return min(longest, room, max(SMALLEST_ANSWER, share))


def too_little(step: Step, plan: SopPlan, state: SopState, *, last: bool = False) -> Command[str]:
    """Do the last step with what there is; where it was the ``last`` one, answer with it."""
    results = state.get("results", [])
    if last:
        return Command(update=step.update(failure=_broke(plan)), goto=ANSWER)
    paid = sum(r["status"] == "done" for r in results)
    notice = f"the budget paid for {paid} of {plan.last} steps before the last one"
    passed = [
        skipped(n, plan.step(n).action, "the budget did not pay for it")
        for n in range(len(results) + 1, plan.last)
    ]
    update = step.update(
        results=[*results, *passed], tries=0, problem="", draft="", notices=[notice]
    )
    return Command(update=update, goto=plan.name(plan.last))


def _broke(plan: SopPlan) -> SopFailure:
    return {
        "kind": "BudgetExceeded",
        "message": f"the budget did not pay for the last step of {plan.sop.name}",
        "hint": "raise --budget",
        "abstained": False,
    }
