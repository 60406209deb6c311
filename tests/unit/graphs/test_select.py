"""Which strategy is tried: what scores say, and nothing else."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

import pytest

from reverie.errors import ConfigError
from reverie.graphs.budget import Ledger
from reverie.graphs.context import Context
from reverie.graphs.records import Choice
from reverie.graphs.select import candidates, select, thompson
from reverie.knowledge.strategies import Posterior

ALL = ("direct", "chain_of_thought", "dream")


def belief(strategy: str, alpha: float = 1.0, beta: float = 1.0) -> Posterior:
    return {
        "strategy": strategy,
        "alpha": alpha,
        "beta": beta,
        "mean": alpha / (alpha + beta),
        "runs": round(alpha + beta - 2),
    }


class Runtime:
    """As much of LangGraph's runtime as the node uses."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.events: list[Any] = []
        self.stream_writer = self.events.append


async def choose(
    *beliefs: Posterior, tried: tuple[str, ...] = (), question: str = "Why?", **context: Any
) -> Choice:
    runtime = Runtime(Context(**context))
    state: Any = {
        "question": question,
        "run_id": "1",
        "started": time.time(),
        "ledger": [],
        "attempts": [{"strategy": name} for name in tried],
        "memories": {"similar": [], "posteriors": list(beliefs) or [belief(n) for n in ALL]},
    }
    command = await select(state, runtime)  # type: ignore[arg-type]
    assert command.goto.node == command.update["choice"]["strategy"]  # type: ignore[index]
    assert runtime.events == [{"type": "strategy", "choice": command.update["choice"]}]  # type: ignore[index]
    json.dumps(runtime.events)
    return command.update["choice"]  # type: ignore[index, no-any-return]


async def test_without_history_it_dreams() -> None:
    choice = await choose()

    assert (choice["strategy"], choice["propensity"]) == ("dream", 1.0)
    assert "nothing has been scored" in choice["why"]
    assert [p["strategy"] for p in choice["posterior"]] == list(ALL)


@pytest.mark.parametrize("name", ALL)
async def test_what_was_asked_for_always_wins(name: str) -> None:
    against = [belief(n, 1 if n == name else 500, 500 if n == name else 1) for n in ALL]

    choice = await choose(*against, strategy=name, strategies=("direct",), tokens=1)

    assert (choice["strategy"], choice["propensity"], choice["why"]) == (name, 1.0, "asked for")


async def test_an_unknown_strategy_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="'draem'") as caught:
        await choose(strategy="draem")
    assert "did you mean dream?" in caught.value.hint

    with pytest.raises(ConfigError) as caught:
        await choose(strategies=("zzz",))
    assert "Known: auto, direct, chain_of_thought, dream" in caught.value.hint


@pytest.mark.parametrize(("a", "b"), [((1, 1), (1, 1)), ((2, 1), (1, 1)), ((8, 3), (4, 4))])
def test_the_propensity_is_the_chance_of_the_larger_draw(
    a: tuple[int, int], b: tuple[int, int]
) -> None:
    """P(A > B) for Beta posteriors in closed form, by summing over B's whole-numbered alpha."""
    from math import exp, lgamma

    def log_beta(x: float, y: float) -> float:
        return lgamma(x) + lgamma(y) - lgamma(x + y)

    exact = sum(
        exp(log_beta(b[0] + i, a[1] + b[1]) - log_beta(1 + i, a[1]) - log_beta(b[0], b[1]))
        / (a[1] + i)
        for i in range(a[0])
    )

    arms = [belief("a", *a), belief("b", *b)]
    for seed in range(5):
        name, propensity = thompson(arms, str(seed))
        assert propensity == pytest.approx(exact if name == "a" else 1 - exact, abs=0.045)


def test_the_choice_is_drawn_with_its_propensity() -> None:
    arms = [belief("a", 3, 2), belief("b", 2, 3)]

    draws = [thompson(arms, str(seed)) for seed in range(400)]

    share = Counter(name for name, _ in draws)["a"] / len(draws)
    assert share == pytest.approx(next(p for n, p in draws if n == "a"), abs=0.1)


async def test_a_seed_repeats_the_choice_and_another_draws_anew() -> None:
    beliefs = [belief(n, 3, 3) for n in ALL]

    first = [await choose(*beliefs, seed=seed) for seed in range(30)]
    again = [await choose(*beliefs, seed=seed) for seed in range(30)]

    assert first == again
    assert {c["strategy"] for c in first} == set(ALL)


async def test_scores_move_the_choice() -> None:
    async def share(*beliefs: Posterior) -> float:
        chosen = [(await choose(*beliefs, seed=seed))["strategy"] for seed in range(60)]
        return chosen.count("direct") / len(chosen)

    others = [belief("chain_of_thought", 2, 2), belief("dream", 2, 2)]
    even = await share(belief("direct", 2, 2), *others)
    assert 0.15 < even < 0.55
    assert await share(belief("direct", 20, 2), *others) > 0.8
    assert await share(belief("direct", 2, 20), *others) < 0.1


async def test_the_reason_says_whether_it_explores() -> None:
    beliefs = [belief("direct", 5, 2), belief("dream", 4, 3)]
    choices = [await choose(*beliefs, strategies=("direct", "dream"), seed=s) for s in range(40)]
    whys = {c["strategy"]: c["why"] for c in choices}

    assert whys["direct"] == "expected score 0.71 from 5 scored runs, the highest"
    assert whys["dream"] == "explored: expected score 0.57 from 5 scored runs, direct has 0.71"


async def test_only_allowed_strategies_are_chosen() -> None:
    beliefs = [belief(n, 5, 1) for n in ALL]

    for seed in range(20):
        choice = await choose(*beliefs, strategies=("direct", "dream"), seed=seed)
        assert choice["strategy"] in ("direct", "dream")
    assert (await choose(strategies=("direct",)))["propensity"] == 1.0


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (8000, ["direct", "chain_of_thought", "dream"]),
        (2000, ["direct", "chain_of_thought", "dream"]),
        (1999, ["direct", "chain_of_thought"]),
        (600, ["direct", "chain_of_thought"]),
        (250, ["direct"]),
        (10, ["direct"]),  # the cheapest: it knows the smallest budget that would do
    ],
)
def test_only_what_the_budget_pays_for_is_a_candidate(tokens: int, expected: list[str]) -> None:
    context = Context(tokens=tokens)

    assert [s.name for s in candidates(context, [], fresh(context))] == expected


def test_what_was_tried_is_no_candidate_again() -> None:
    context = Context()

    assert [s.name for s in candidates(context, ["dream"], fresh(context))] == list(ALL[:2])
    assert candidates(context, ALL, fresh(context)) == []


async def test_the_next_choice_says_what_it_comes_after() -> None:
    choice = await choose(tried=("dream", "direct"))

    assert (choice["strategy"], choice["why"]) == ("chain_of_thought", "after dream and direct")


def fresh(context: Context) -> Ledger:
    return Ledger(context.limits, (), time.time())
