"""Escalation: what is tried after an attempt that was not good enough.

First the same strategy again with a reasoning template, when the model itself was not sure; then a
critique and revision, where that strategy is allowed; then the next strategy of the sequence. Each
only while the budget pays for it, and the last two only while something is left that may do better
than the answer that is there (``_promising``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from reverie.errors import KnowledgeUnavailable
from reverie.graphs.budget import Ledger, total_tokens
from reverie.graphs.context import Context
from reverie.graphs.features import NAMES, as_later
from reverie.graphs.records import Attempt, Choice, Planned
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


@dataclass(frozen=True, slots=True)
class Enough:
    """Nothing comes next."""

    why: str


async def next_try(
    state: ReasonState,
    attempts: Sequence[Attempt],
    ledger: Ledger,
    resources: Resources,
    context: Context,
) -> NextTry | Enough:
    """What to try after the last of ``attempts``, which was not accepted, if anything is left that
    the budget pays for and that may do better. A strategy that was asked for is never replaced.
    """
    if why := _at_its_end(attempts, ledger, context):
        return Enough(why)
    last = attempts[-1]
    again = len(attempts) < _SECOND_CHANCES
    if again and _wants_template(attempts, context) and _pays_again(last, ledger):
        seed = f"{context.seed}:{len(attempts)}:{state['question']}"
        if planned := await _augmented(last["strategy"], state["question"], seed, resources):
            return NextTry(planned, planned["why"])
    reflects = again and _can_reflect(attempts, ledger, context)
    tried = [a["strategy"] for a in attempts]
    open_ = [s.name for s in candidates(context, tried, ledger, state["memories"].get("costs"))]
    if not reflects and not open_:
        return Enough("every strategy that the budget pays for was tried")
    names = dict.fromkeys([*([REFLECT] if reflects else []), *open_])
    promising, why = await _promising(list(names), attempts, state["choice"], resources)
    if REFLECT in promising and reflects:
        why = f"{last['strategy']} was not sure enough, so its answer is criticised and revised"
        return NextTry({"strategy": REFLECT, "template": "", "why": why}, why)
    if any(name in promising for name in open_):
        return NextTry(None, "the next strategy is tried")
    return Enough(why)


def _at_its_end(attempts: Sequence[Attempt], ledger: Ledger, context: Context) -> str:
    """Why nothing more may be tried, whatever it would be worth; empty when it may."""
    if context.strategy != "auto":
        return "the strategy was asked for, so no other is tried"
    if ledger.exhausted():
        return "the budget is spent"
    return f"{MOST_ATTEMPTS} attempts are the most" if len(attempts) >= MOST_ATTEMPTS else ""


async def _promising(
    names: Sequence[str], attempts: Sequence[Attempt], choice: Choice, resources: Resources
) -> tuple[Collection[str], str]:
    """Those of ``names`` that may do better than the best answer so far, and why none may.

    An answer whose calibrated confidence is c is right with probability c. Another strategy is
    worth its tokens only if the reward that is believed of it after a first attempt, one standard
    deviation up, is more than that. What was never scored is always worth it, and without a
    calibrated confidence nothing can be compared.
    """
    answered = [a for a in attempts if a["status"] == "ok"]
    sure = [a["confidence"] or 0.0 for a in answered if a["calibrated"]]
    features = choice.get("features", [])
    if not sure or len(sure) < len(answered) or len(features) != len(NAMES):
        return names, ""
    beliefs = await asyncio.to_thread(lambda: resources.beliefs)
    version = choice["features_version"]
    believed = beliefs.beliefs(version, names, as_later(features))
    promising = {b["strategy"] for b in believed if b["mean"] + b["sd"] > max(sure)}
    best = max(believed, key=lambda b: b["mean"] + b["sd"])
    return promising, (
        f"no other strategy is expected to do better: {best['strategy']} is worth "
        f"{best['mean']:.2f} ± {best['sd']:.2f}"
    )


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
