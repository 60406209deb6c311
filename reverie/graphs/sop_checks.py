"""Conditions, checks, preconditions: exact ones looked at, those in words judged by the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from langgraph.runtime import Runtime
from langgraph.types import Command

from reverie.graphs.call import Reply
from reverie.graphs.context import Context
from reverie.graphs.judge import SCHEMA, probability_of_yes
from reverie.graphs.outside_text import as_data
from reverie.graphs.sop_plan import ANSWER, SopPlan
from reverie.graphs.sop_state import SopFailure, SopState
from reverie.graphs.sop_steps import (
    Node,
    done,
    filed,
    known,
    not_good,
    skipped,
    tokens_for,
    too_little,
    went_well,
)
from reverie.graphs.step import Step
from reverie.knowledge.sops.check import Check

_MOST_TOKENS: Final = 8
_ALTERNATIVES: Final = 20


def precondition_node(plan: SopPlan) -> Node:
    """Whether the procedure applies to the task at all; otherwise it abstains."""

    async def preconditions(state: SopState, runtime: Runtime[Context]) -> Command[str]:
        async with Step(state, runtime, "sop.preconditions") as step:
            found = await _problem(
                step, plan, 1, state, plan.sop.preconditions, state["question"], "pre"
            )
            if not found:
                return Command(update=step.update(), goto=plan.entry(1))
            failure: SopFailure = {
                "kind": "",
                "message": f"{plan.sop.name} does not apply: {found}",
                "hint": "",
                "abstained": True,
            }
            return Command(update=step.update(failure=failure), goto=ANSWER)

    return preconditions


def when_node(plan: SopPlan, number: int) -> Node:
    """Whether step ``number`` is to be done; it is skipped otherwise."""
    wanted = plan.step(number)

    async def when(state: SopState, runtime: Runtime[Context]) -> Command[str]:
        results = state.get("results", [])
        before = [r["result"] for r in results if r["status"] == "done"]
        async with Step(state, runtime, f"sop.{plan.when(number)}") as step:
            text = before[-1] if before else ""
            found = await _problem(step, plan, number, state, wanted.condition, text, "when")
            if found is None:
                return too_little(step, plan, state)
            if not found:
                return Command(update=step.update(), goto=plan.name(number))
            result = skipped(number, wanted.action, found)
            return Command(update=step.update(**filed(state, result)), goto=plan.entry(number + 1))

    return when


def check_node(plan: SopPlan, number: int) -> Node:
    """Whether the result of step ``number`` will do."""
    wanted = plan.step(number)

    async def check(state: SopState, runtime: Runtime[Context]) -> Command[str]:
        draft, tries = state.get("draft", ""), state.get("tries", 1)
        async with Step(state, runtime, f"sop.{plan.check(number)}") as step:
            found = await _problem(
                step, plan, number, state, wanted.check, draft, f"check{tries}", draft=draft
            )
            if found:
                kind = "ToolFailed" if _tool_failed(state, wanted.tool) else "OutputInvalid"
                again = not (wanted.tool and _fixed(wanted.inputs, state))
                return not_good(step, plan, number, state, found, {}, kind=kind, again=again)
            confidence = None if wanted.tool else state.get("signals", {}).get("mean")
            result = done(number, wanted.action, draft, confidence, tries)
            # A check that the budget does not pay for counts as held: the result is there.
            return went_well(step, plan, state, result, {})

    return check


async def _problem(  # noqa: PLR0917  # what is checked, of what, and under which name
    step: Step,
    plan: SopPlan,
    number: int,
    state: SopState,
    checks: Sequence[Check],
    text: str,
    call: str,
    *,
    draft: str = "",
) -> str | None:
    """The first check that does not hold, in words; empty: all do. None when the budget does not
    pay for judging. Exact ones first: they cost nothing.
    """
    uses = state.get("uses", [])
    tool_failed = bool(uses[-1]["error"]) if uses else None
    for check in checks:
        looked_at = state["question"] if check.of == "task" else text
        if not check.judged and not check.holds(looked_at, tool_failed=tool_failed):
            if check.tool and uses and uses[-1]["error"]:
                return f"the tool failed: {uses[-1]['error']}"
            return check.wanted if draft else f"not true: {check.said}"
    for place, check in enumerate(checks):
        if not check.judged:
            continue
        seen = known(state.get("results", []))
        if draft:
            action = plan.step(number).action
            seen += f"Step {number}: {as_data(action)}\n{as_data(draft, keep_lines=True)}\n"
        messages = step.messages(
            "sop_holds", task=state["question"], known=seen, statement=as_data(check.words)
        )
        final = bool(draft) and number == plan.last
        if not await tokens_for(*(step, plan, number, state, messages, _MOST_TOKENS), final=final):
            return None
        reply = await step.ask(
            f"{call}.{place}",
            messages,
            max_tokens=_MOST_TOKENS,
            json_schema=SCHEMA if step.model.reverie_profile.json_schema else None,
            shown=False,
            alternatives=_ALTERNATIVES,
        )
        if not _yes(step, reply, check):
            return check.wanted if draft else f"not true: {check.said}"
    return ""


def _yes(step: Step, reply: Reply, check: Check) -> bool:
    """What the model says; a reply that says neither counts as yes, with a notice."""
    probability = probability_of_yes(reply)
    if probability is not None:
        return probability >= 0.5
    word = reply.text.strip(" \n\"'.").casefold()
    if not word.startswith(("yes", "no")):
        step.notices.append(f"the model said neither yes nor no to: {check.words}")
    return not word.startswith("no")


def _tool_failed(state: SopState, tool: str) -> bool:
    uses = state.get("uses", [])
    return bool(tool and uses and uses[-1]["error"])


def _fixed(inputs: object, state: SopState) -> bool:
    """Whether the call would only be repeated: the model wrote none of its arguments."""
    written = set(state.get("arguments", {}))
    return written <= set(inputs) if isinstance(inputs, dict) else False
