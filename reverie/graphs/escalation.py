"""Escalation: what is tried after an attempt that was not good enough.

First the same strategy again with a reasoning template, when the model itself was not sure; then a
critique and revision, where that strategy is allowed; then the next strategy of the sequence. Each
only while the budget pays for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from reverie.errors import KnowledgeUnavailable
from reverie.graphs.budget import Ledger, total_tokens
from reverie.graphs.context import Context
from reverie.graphs.records import Attempt, Planned
from reverie.graphs.resources import Resources
from reverie.graphs.select import candidates
from reverie.graphs.state import ReasonState
from reverie.graphs.strategies import known_strategies
from reverie.graphs.task_type import task_type
from reverie.graphs.templates import choose_template

REFLECT = "reflect"
"""The strategy that criticises and revises an earlier answer."""

MOST_ATTEMPTS = 16
"""However much budget is left: the graph's steps are bounded too."""

_SECOND_CHANCES = 8
"""From so many attempts on, nothing is asked again, only strategies that were not tried."""

_TEMPLATE_TOKENS = 40
"""What a template may add to a prompt."""


@dataclass(frozen=True, slots=True)
class NextTry:
    """What comes next: something ``planned``, or what select chooses."""

    planned: Planned | None
    why: str


async def next_try(
    state: ReasonState,
    attempts: Sequence[Attempt],
    ledger: Ledger,
    resources: Resources,
    context: Context,
) -> NextTry | None:
    """What to try after the last of ``attempts``, which was not accepted; None when nothing is left
    that the budget pays for. A strategy that was asked for is never replaced.
    """
    if context.strategy != "auto" or ledger.exhausted() or len(attempts) >= MOST_ATTEMPTS:
        return None
    last = attempts[-1]
    again = len(attempts) < _SECOND_CHANCES
    if again and _wants_template(attempts, context) and _pays_again(last, ledger):
        seed = f"{context.seed}:{len(attempts)}:{state['question']}"
        if planned := await _augmented(last["strategy"], state["question"], seed, resources):
            return NextTry(planned, planned["why"])
    if again and _can_reflect(attempts, ledger, context):
        why = f"{last['strategy']} was not sure enough, so its answer is criticised and revised"
        return NextTry({"strategy": REFLECT, "template": "", "why": why}, why)
    tried = [a["strategy"] for a in attempts]
    if candidates(context, tried, ledger, state["memories"].get("costs")):
        return NextTry(None, "the next strategy is tried")
    return None


def _wants_template(attempts: Sequence[Attempt], context: Context) -> bool:
    """Whether the model was unsure of its answer, and no template was tried with that strategy."""
    last = attempts[-1]
    if last["status"] != "ok" or last["confidence"] is None or last["strategy"] == REFLECT:
        return False
    tried = any(a["template"] for a in attempts if a["strategy"] == last["strategy"])
    return last["confidence"] < context.augment_below and not tried


def _pays_again(attempt: Attempt, ledger: Ledger) -> bool:
    """Whether the budget pays for the same once more, and for a template in every call."""
    left, usage = ledger.left(), attempt["usage"]
    more = _TEMPLATE_TOKENS * usage["calls"]
    return (
        left["tokens"] >= total_tokens(usage) + more
        and left["calls"] >= max(1, usage["calls"])
        and left["seconds"] > usage["seconds"]
        and (left["money"] is None or left["money"] > usage["money"])
    )


def _can_reflect(attempts: Sequence[Attempt], ledger: Ledger, context: Context) -> bool:
    reflect = known_strategies().get(REFLECT)
    return (
        reflect is not None
        and REFLECT in context.strategies
        and attempts[-1]["status"] == "ok"
        and all(a["strategy"] != REFLECT for a in attempts)
        and ledger.left()["tokens"] >= reflect.cost
        and ledger.left()["calls"] >= 2  # a critique and a revision
    )


async def _augmented(
    strategy: str, question: str, seed: str, resources: Resources
) -> Planned | None:
    """The same strategy with the template whose turn it is; None when none fits."""
    kind = task_type(question)
    book = await asyncio.to_thread(lambda: resources.templates)
    try:
        measured = await (await resources.memory()).templates(kind)
    except KnowledgeUnavailable:
        measured = {}  # then all are equally likely
    chosen = choose_template(book.fitting(kind), measured, seed)
    if chosen is None:
        return None
    template, why = chosen
    return {
        "strategy": strategy,
        "template": template.key,
        "why": f"{strategy} was not sure, so it is asked again with the template {template.name} "
        f"({why})",
    }
