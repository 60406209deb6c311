"""Selection: which strategy to try, by Thompson sampling over what earlier runs scored."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from langgraph.runtime import Runtime
from langgraph.types import Command, Send

from reverie.graphs.budget import Ledger, ledger_of
from reverie.graphs.context import Context
from reverie.graphs.records import Choice
from reverie.graphs.state import ReasonState
from reverie.graphs.strategies import Strategy, require_strategy
from reverie.knowledge.strategies import Posterior

FIRST = "dream"
"""What is tried while nothing has ever been scored."""

_GRACE_SECONDS = 5.0
"""What a strategy gets beyond the run's seconds to wind up, before it is cut off."""

_DRAWS = 2000  # to estimate the propensity: its standard error is then at most .011


async def select(state: ReasonState, runtime: Runtime[Context]) -> Command[str]:
    """Choose a strategy and go to its node."""
    context = runtime.context
    choice = _choose(state, context)
    runtime.stream_writer({"type": "strategy", "choice": choice})
    ledger = ledger_of(state, context)
    task = {
        "question": state["question"],
        "run_id": state["run_id"],
        "started": state["started"],
        "ledger": state["ledger"],
        "notices": [],
        "scope": choice["scope"],
        "template": choice["template"],
        "attempts": state["attempts"],
    }
    # What a strategy's own calls do not end, this does: one that never comes back.
    seconds = max(_GRACE_SECONDS, ledger.left()["seconds"] + _GRACE_SECONDS)
    return Command(update={"choice": choice}, goto=Send(choice["strategy"], task, timeout=seconds))


def candidates(context: Context, tried: Sequence[str], ledger: Ledger) -> list[Strategy]:
    """The allowed strategies that were not tried and that the budget left pays for; if it pays for
    none, the cheapest. Empty when all were tried.
    """
    allowed = [require_strategy(n) for n in dict.fromkeys(context.strategies) if n not in tried]
    affordable = [s for s in allowed if s.cost <= ledger.left()["tokens"]]
    return affordable or sorted(allowed, key=lambda s: s.cost)[:1]


def thompson(posteriors: Sequence[Posterior], seed: str) -> tuple[str, float]:
    """The strategy whose sampled success rate is highest, and how often that would be so.

    Thompson sampling on Beta posteriors (Thompson 1933; Chapelle and Li 2011, algorithm 2). The
    second value is the propensity, the share of draws in which the same strategy wins.
    """
    import numpy as np

    digest = hashlib.sha256(seed.encode()).digest()
    random = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    alphas = [p["alpha"] for p in posteriors]
    betas = [p["beta"] for p in posteriors]
    draws = random.beta(alphas, betas, size=(_DRAWS, len(posteriors)))
    winners = draws.argmax(axis=1)
    chosen = int(winners[0])
    return posteriors[chosen]["strategy"], float((winners == chosen).mean())


def _choose(state: ReasonState, context: Context) -> Choice:
    posteriors = state["memories"]["posteriors"]
    if context.strategy != "auto":
        name = require_strategy(context.strategy).name
        return _choice(name, "asked for", 1.0, posteriors)
    tried = [a["strategy"] for a in state["attempts"]]
    open_ = [s.name for s in candidates(context, tried, ledger_of(state, context))]
    if len(open_) == 1:
        why = f"after {' and '.join(tried)}" if tried else "the only one allowed and affordable"
        return _choice(open_[0], why, 1.0, posteriors)
    believed = [p for p in posteriors if p["strategy"] in open_]
    if not any(p["runs"] for p in posteriors):
        name = FIRST if FIRST in open_ else open_[-1]
        return _choice(name, "nothing has been scored yet, so the first choice", 1.0, posteriors)
    seed = f"{context.seed}:{len(tried)}:{state['question']}"
    name, propensity = thompson(believed, seed)
    return _choice(name, _why(name, believed), propensity, posteriors)


def _why(name: str, believed: Sequence[Posterior]) -> str:
    by_name: Mapping[str, Posterior] = {p["strategy"]: p for p in believed}
    mine = by_name[name]
    best = max(believed, key=lambda p: p["mean"])
    if best["strategy"] == name:
        return f"expected score {_expected(mine)}, the highest"
    return f"explored: expected score {_expected(mine)}, {best['strategy']} has {best['mean']:.2f}"


def _expected(posterior: Posterior) -> str:
    runs = posterior["runs"]
    return f"{posterior['mean']:.2f} from {runs} scored run{'' if runs == 1 else 's'}"


def _choice(name: str, why: str, propensity: float, posteriors: list[Posterior]) -> Choice:
    return {
        "strategy": name,
        "why": why,
        "propensity": propensity,
        "posterior": posteriors,
        "template": "",
        "scope": "",
        "tokens": 0,
    }
