"""Selection: which strategy to try, with how much of the budget, and what if it is not enough.

The first time a whole sequence is planned: strategies ranked by rewards that are sampled from what
is believed of each (``bandit``), the later places reordered by what worked in that order on similar
questions. Each later selection takes the next place of the plan.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from langgraph.runtime import Runtime
from langgraph.types import Command, Send

from reverie.graphs import allocate as shares
from reverie.graphs.beliefs import Beliefs
from reverie.graphs.budget import Entry, Ledger, ledger_of
from reverie.graphs.context import Context
from reverie.graphs.features import features_of, features_version
from reverie.graphs.records import Attempt, Belief, Choice
from reverie.graphs.resources import Resources, find_resources
from reverie.graphs.state import ReasonState
from reverie.graphs.strategies import Strategy, require_strategy
from reverie.graphs.task_type import task_type
from reverie.knowledge.strategies import MeasuredCost, RecalledSequence

FIRST = "dream"
"""What is tried while nothing has ever been scored."""

_GRACE_SECONDS = 5.0
"""What a strategy gets beyond the run's seconds to wind up, before it is cut off."""

_MEASURED = 3
"""Attempts from which on a measured cost replaces the declared one."""

_DECLARED_SPREAD = 0.5
"""Standard deviation of a cost that was never measured, as a share of it."""

_FOLLOWS = 0.2
"""Reward that a recalled sequence adds to a strategy right behind its predecessor, when it always
worked, on the very same question.
"""


async def select(state: ReasonState, runtime: Runtime[Context]) -> Command[str]:
    """Choose a strategy, set its tokens aside, and go to its node."""
    context = runtime.context
    # In a thread: a run that is resumed may read its settings here.
    resources = await asyncio.to_thread(find_resources, context.resources)
    ledger = ledger_of(state, context)
    seen = await _look(state, resources, context, ledger)
    choice = await asyncio.to_thread(_choose, state, context, ledger, seen)
    reserved = _reserve(choice, state["attempts"], context, ledger, seen)
    runtime.stream_writer({"type": "strategy", "choice": choice})
    task = {
        "question": state["question"],
        "run_id": state["run_id"],
        "started": state["started"],
        "ledger": [*state["ledger"], *reserved],
        "notices": [],
        "scope": choice["scope"],
        "template": choice["template"],
        "attempts": state["attempts"],
    }
    # What a strategy's own calls do not end, this does: one that never comes back.
    seconds = max(_GRACE_SECONDS, ledger.left()["seconds"] + _GRACE_SECONDS)
    return Command(
        update={
            "choice": choice,
            "choices": [*state.get("choices", [])[: len(state["attempts"])], choice],
            "planned": None,
            "ledger": reserved,
        },
        goto=Send(choice["strategy"], task, timeout=seconds),
    )


def candidates(
    context: Context,
    tried: Sequence[str],
    ledger: Ledger,
    costs: Mapping[str, MeasuredCost] | None = None,
) -> list[Strategy]:
    """The allowed strategies that were not tried, have what they need, and that the budget left
    pays for; if it pays for none, the cheapest. Empty when all were tried.

    ``costs`` are the measured ones. A strategy that needs what is not there is one only when
    nothing else was ever allowed.
    """
    names = [name for name in dict.fromkeys(context.strategies) if name not in tried]
    allowed = [require_strategy(name) for name in names]
    ready = [s for s in allowed if _has_needs(s, context, tried)]
    if not ready and not tried:
        ready = allowed
    tokens = ledger.left()["tokens"]
    price = {s.name: _cost(s, costs or {})[0] for s in ready}
    affordable = [s for s in ready if price[s.name] <= tokens]
    return affordable or sorted(ready, key=lambda s: price[s.name])[:1]


def follows(sequences: Sequence[RecalledSequence]) -> dict[tuple[str, str], float]:
    """What it is worth, in reward, to try the second of two strategies right behind the first:
    positive where recalled sequences with these two in a row worked, negative where they failed.
    """
    worth: dict[tuple[str, str], float] = {}
    for sequence in sequences:
        known = sequence["runs"] / (sequence["runs"] + 2.0)
        bonus = _FOLLOWS * sequence["similarity"] * (2.0 * sequence["success"] - 1.0) * known
        names = sequence["strategies"]
        for pair in pairwise(names):
            # The strongest evidence counts, not its sum: sequences share their runs.
            if abs(bonus) > abs(worth.get(pair, 0.0)):
                worth[pair] = bonus
    return worth


# -- what the choice rests on ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is known of the question and of the strategies by now."""

    beliefs: Beliefs
    version: str
    task: str
    features: list[float]
    later: list[float]
    """The features that the question will have after a first attempt."""
    costs: Mapping[str, MeasuredCost]
    follows: Mapping[tuple[str, str], float]
    token_price: float

    def believed(self, names: Sequence[str]) -> list[Belief]:
        return self.beliefs.beliefs(self.version, names, self.features)


async def _look(
    state: ReasonState, resources: Resources, context: Context, ledger: Ledger
) -> _Seen:
    embedder = await resources.embedder()
    vector = await resources.question_vector(state["question"])
    version = features_version(embedder.name)
    beliefs = await asyncio.to_thread(lambda: resources.beliefs)
    await beliefs.catch_up(await resources.memory(), version)
    profile = (await resources.model(context.model, context.preview)).reverie_profile
    tokens, task = ledger.left()["tokens"], task_type(state["question"])

    def features(*, later: bool) -> list[float]:
        return features_of(vector, task, profile, tokens_left=tokens, later=later)

    return _Seen(
        beliefs=beliefs,
        version=version,
        task=task,
        features=features(later=bool(state["attempts"])),
        later=features(later=True),
        costs=state["memories"].get("costs", {}),
        follows=follows(state["memories"].get("sequences", [])),
        token_price=resources.settings.learn.token_price,
    )


# -- the choice --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Pick:
    """A strategy, and the plan that it is a part of."""

    strategy: str
    why: str
    sequence: Sequence[str]
    propensities: Sequence[float]
    errors: Sequence[float] = ()
    entropy: float = 0.0
    forced: bool = False
    template: str = ""


def _choose(state: ReasonState, context: Context, ledger: Ledger, seen: _Seen) -> Choice:
    tried = [attempt["strategy"] for attempt in state["attempts"]]
    open_ = [s.name for s in candidates(context, tried, ledger, seen.costs)]
    pick = (
        _told(state, context)
        or _next_of_plan(state, tried, open_)
        or _only_one(state, tried, open_)
        or _first(context, tried, open_, seen)
        or _drawn(state, context, tried, open_, seen)
    )
    place = pick.sequence.index(pick.strategy)
    shown = dict.fromkeys((*context.strategies, pick.strategy))
    return {
        "strategy": pick.strategy,
        "why": pick.why,
        "propensity": 1.0 if pick.forced else pick.propensities[place],
        "error": pick.errors[place] if pick.errors and not pick.forced else 0.0,
        "entropy": pick.entropy,
        "forced": pick.forced,
        "posterior": seen.believed(list(shown)),
        "candidates": [pick.strategy] if pick.forced else open_,
        "sequence": list(pick.sequence),
        "propensities": list(pick.propensities),
        "features": seen.features,
        "features_version": seen.version,
        "task_type": seen.task,
        "template": pick.template,
        "scope": "",
        "tokens": 0,
    }


def _told(state: ReasonState, context: Context) -> _Pick | None:
    """What nobody has to choose: a strategy that was asked for, or what assessing the last attempt
    wants tried.
    """
    planned = state.get("planned")
    if planned is not None:
        name, before = require_strategy(planned["strategy"]).name, state["choice"]
        sequence, chances = list(before["sequence"]), list(before["propensities"])
        if name not in sequence:
            sequence.append(name)
            chances.append(1.0)
        return _Pick(
            name, planned["why"], sequence, chances, forced=True, template=planned["template"]
        )
    if context.strategy != "auto":
        name = require_strategy(context.strategy).name
        return _Pick(name, "asked for", [name], [1.0], forced=True)
    return None


def _next_of_plan(state: ReasonState, tried: Sequence[str], open_: Sequence[str]) -> _Pick | None:
    """The next place of the plan. None when there is none, when the budget does not pay for all
    that is left of it, or something was tried out of turn: then its propensities are not those of
    what would be done next.
    """
    before = state.get("choice")
    if not tried or not before:
        return None
    sequence = before["sequence"]
    left = [name for name in sequence if name not in tried]
    if not left or not set(left) <= set(open_) or _out_of_turn(state, sequence):
        return None
    coming = left[0]
    why = f"after {_joined(tried)}: the next of the plan {', '.join(sequence)}"
    return _Pick(coming, why, sequence, before["propensities"], entropy=before["entropy"])


def _out_of_turn(state: ReasonState, sequence: Sequence[str]) -> bool:
    """Whether something that the plan was drawn with was tried because it was told."""
    choices = state.get("choices", [])
    for number, drawn in enumerate(choices, 1):
        names = drawn["sequence"]
        if drawn["forced"] or list(sequence[: len(names)]) != names:
            continue  # what was told, but not drawn, stands at the end
        known = {choice["strategy"] for choice in choices[:number]}
        for choice in choices[number:]:
            if choice["forced"] and choice["strategy"] in {*names} - known:
                return True
            known.add(choice["strategy"])
        break
    return False


def _only_one(state: ReasonState, tried: Sequence[str], open_: Sequence[str]) -> _Pick | None:
    if len(open_) != 1:
        return None
    why = f"after {_joined(tried)}" if tried else "the only one allowed and affordable"
    return _Pick(open_[0], why, *_behind(state, tried, open_, [1.0]))


def _first(
    context: Context, tried: Sequence[str], open_: Sequence[str], seen: _Seen
) -> _Pick | None:
    """While nothing has been scored: the first choice, then the others by their declared cost."""
    believed = seen.believed(list(dict.fromkeys(context.strategies)))
    if tried or any(b["runs"] for b in believed):
        return None
    means = {b["strategy"]: b["mean"] for b in believed}
    order = [FIRST if FIRST in open_ else open_[-1]]
    while len(order) < len(open_):
        left = [name for name in open_ if name not in order]
        order.append(max(left, key=lambda n: means[n] + seen.follows.get((order[-1], n), 0.0)))
    why = "nothing has been scored yet, so the first choice"
    return _Pick(order[0], why, order, [1.0] * len(order))


def _drawn(
    state: ReasonState, context: Context, tried: Sequence[str], open_: Sequence[str], seen: _Seen
) -> _Pick:
    """A plan by Thompson sampling."""
    drawn = seen.beliefs.draw(
        seen.version,
        open_,
        seen.features,
        f"{context.seed}:{len(tried)}:{state['question']}",
        later=seen.later,
        follows=seen.follows,
    )
    why = _why(drawn.order[0], seen.believed(open_))
    sequence, chances = _behind(state, tried, drawn.order, drawn.propensities)
    errors = [0.0] * (len(sequence) - len(drawn.order)) + list(drawn.errors)
    return _Pick(drawn.order[0], why, sequence, chances, errors, drawn.entropy)


def _behind(
    state: ReasonState, tried: Sequence[str], order: Sequence[str], chances: Sequence[float]
) -> tuple[list[str], list[float]]:
    """A plan for what is left, behind what was tried."""
    made = {c["strategy"]: c["propensity"] for c in state.get("choices", [])}
    names = list(dict.fromkeys(tried))
    return [*names, *order], [*(made.get(name, 1.0) for name in names), *chances]


def _why(name: str, believed: Sequence[Belief]) -> str:
    mine = next(b for b in believed if b["strategy"] == name)
    best = max(believed, key=lambda b: b["mean"])
    if best["strategy"] == name:
        return f"expected reward {_expected(mine)}, the highest"
    return f"explored: expected reward {_expected(mine)}, {best['strategy']} has {best['mean']:.2f}"


def _expected(belief: Belief) -> str:
    runs = belief["runs"]
    counted = f"{runs} scored attempt{'' if runs == 1 else 's'}"
    return f"{belief['mean']:.2f} ± {belief['sd']:.2f} from {counted}"


def _joined(names: Sequence[str]) -> str:
    return " and ".join(dict.fromkeys(names))


def _has_needs(strategy: Strategy, context: Context, tried: Collection[str]) -> bool:
    """Whether what the strategy works with is there. Needs that nobody here knows are its own."""
    met = {
        "facts": context.max_facts > 0,
        "tools": bool(context.tools),
        "attempts": bool(tried),
        "verifier": bool(context.verifier),
    }
    return all(met.get(need, True) for need in strategy.needs)


# -- its tokens --------------------------------------------------------------------------------


def _cost(strategy: Strategy, costs: Mapping[str, MeasuredCost]) -> tuple[float, float]:
    """What a strategy takes, in tokens: mean and standard deviation."""
    measured = costs.get(strategy.name)
    if measured is not None and measured["runs"] >= _MEASURED:
        return measured["mean"], measured["spread"]
    return float(strategy.cost), _DECLARED_SPREAD * strategy.cost


def _reserve(
    choice: Choice, attempts: Sequence[Attempt], context: Context, ledger: Ledger, seen: _Seen
) -> list[Entry]:
    """Set aside what the attempt may spend, and write that to the choice. Where nothing is left
    there is no reservation: the strategy says what it would have needed.
    """
    left = ledger.left()
    if left["tokens"] < 1 or left["calls"] < 1:
        return []
    if context.strategy != "auto":
        tokens = left["tokens"]
    else:
        place = choice["sequence"].index(choice["strategy"])
        tried = {attempt["strategy"] for attempt in attempts}
        later = (name for name in choice["sequence"][place + 1 :] if name not in tried)
        coming = [choice["strategy"], *later]
        gains = {b["strategy"]: b["mean"] for b in seen.believed(coming)}
        planned = [
            shares.Planned(name, cost, spread, gains[name] + seen.token_price * cost / 1000)
            for name in coming
            for cost, spread in [_cost(require_strategy(name), seen.costs)]
        ]
        tokens = shares.allocate(planned, left)[0] or left["tokens"]
    choice["scope"], choice["tokens"] = f"attempt:{len(attempts)}", tokens
    return [ledger.reserve(choice["scope"], tokens, left["calls"], node="select")]
