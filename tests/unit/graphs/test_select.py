"""Which strategy is tried, with how much of the budget, and what comes after it."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

import pytest
from pydantic import TypeAdapter

from reverie.errors import ConfigError
from reverie.graphs.budget import Ledger
from reverie.graphs.context import Context
from reverie.graphs.features import NAMES, features_version
from reverie.graphs.records import Choice, Planned
from reverie.graphs.select import candidates, follows, select
from reverie.knowledge.strategies import MeasuredCost, RecalledSequence, Run, Trial
from tests.unit.conftest import ScriptedResources, run_graph

ALL = ("direct", "chain_of_thought", "dream")
VERSION = features_version("hashed words")


class Runtime:
    """As much of LangGraph's runtime as the node uses."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.events: list[Any] = []
        self.stream_writer = self.events.append


class Chosen:
    """What select did: its choice, and the state's update."""

    def __init__(self, update: dict[str, Any]) -> None:
        self.update = update
        self.choice: Choice = update["choice"]


async def choose(
    resources: ScriptedResources,
    *,
    tried: tuple[str, ...] = (),
    question: str = "Why?",
    before: Choice | None = None,
    choices: list[Choice] | None = None,
    planned: Planned | None = None,
    costs: dict[str, MeasuredCost] | None = None,
    sequences: list[RecalledSequence] | None = None,
    **context: Any,
) -> Chosen:
    runtime = Runtime(Context(resources=resources.key, **{"strategies": ALL, **context}))
    state: Any = {
        "question": question,
        "run_id": "1",
        "started": time.time(),
        "ledger": [],
        "attempts": [{"strategy": name} for name in tried],
        "memories": {"costs": costs or {}, "sequences": sequences or []},
        "planned": planned,
    }
    if before is not None:
        state |= {"choice": before, "choices": choices or [before]}
    command = await select(state, runtime)  # type: ignore[arg-type]  # the double
    update: Any = command.update
    sent: Any = command.goto
    assert sent.node == update["choice"]["strategy"]
    assert runtime.events == [{"type": "strategy", "choice": update["choice"]}]
    assert sent.arg["ledger"] == update["ledger"]
    assert (sent.arg["scope"], sent.arg["template"]) == (
        update["choice"]["scope"],
        update["choice"]["template"],
    )
    assert update["planned"] is None
    assert update["choices"][-1] == update["choice"]
    TypeAdapter(Choice).validate_python(update["choice"], strict=True)
    json.dumps(runtime.events)
    return Chosen(update)


async def teach(
    resources: ScriptedResources, strategy: str, *scores: float, question: str = "Why?"
) -> None:
    """Score attempts with ``strategy`` at ``question``."""
    memory = await resources.memory()
    vector = await resources.question_vector(question)
    learned = await choose(resources, question=question, strategy=strategy)
    for number, score in enumerate(scores):
        run_id = f"{strategy}-{question}-{number}-{time.time_ns()}"
        trial = Trial(
            strategy,
            1.0,
            features=tuple(learned.choice["features"]),
            features_version=VERSION,
            answer=f"{number}",
            tokens_in=100,
        )
        run = Run(run_id, question, strategy, 1.0, answer=f"{number}", trials=(trial,))
        await memory.record(run, vector)
        await memory.score(run_id, score)


async def shares(resources: ScriptedResources, seeds: int = 40, **told: Any) -> Counter[str]:
    chosen = [(await choose(resources, seed=s, **told)).choice["strategy"] for s in range(seeds)]
    return Counter({name: count / seeds for name, count in Counter(chosen).items()})


# -- the first choice --------------------------------------------------------------------------


async def test_without_history_it_dreams(resources: ScriptedResources) -> None:
    choice = (await choose(resources)).choice

    assert (choice["strategy"], choice["propensity"], choice["error"]) == ("dream", 1.0, 0.0)
    assert "nothing has been scored" in choice["why"]
    assert [p["strategy"] for p in choice["posterior"]] == list(ALL)
    assert choice["candidates"] == list(ALL)
    assert choice["sequence"] == ["dream", "direct", "chain_of_thought"]  # then the cheaper first


@pytest.mark.parametrize("name", ALL)
async def test_what_was_asked_for_always_wins(resources: ScriptedResources, name: str) -> None:
    for other in ALL:
        await teach(resources, other, *[float(other != name)] * 20)

    choice = (await choose(resources, strategy=name, strategies=("direct",), tokens=1)).choice

    assert (choice["strategy"], choice["propensity"], choice["why"]) == (name, 1.0, "asked for")
    assert choice["forced"]
    assert choice["candidates"] == [name]
    assert choice["tokens"] == 1


async def test_an_unknown_strategy_is_an_error_that_names_the_nearest(
    resources: ScriptedResources,
) -> None:
    with pytest.raises(ConfigError, match="'draem'") as caught:
        await choose(resources, strategy="draem")
    assert "did you mean dream?" in caught.value.hint

    with pytest.raises(ConfigError) as caught:
        await choose(resources, strategies=("zzz",))
    assert "Known: auto, direct" in caught.value.hint


async def test_what_the_choice_rests_on_is_recorded(resources: ScriptedResources) -> None:
    choice = (await choose(resources, question="Calculate 2 + 2")).choice

    assert len(choice["features"]) == len(NAMES)
    assert choice["features_version"] == VERSION
    assert choice["task_type"] == "arithmetic"
    assert not choice["forced"]


# -- learning ----------------------------------------------------------------------------------


async def test_scores_move_the_choice(resources: ScriptedResources) -> None:
    for name in ALL:
        await teach(resources, name, 0.0, 1.0)
    even = await shares(resources)
    assert set(even) == set(ALL)

    await teach(resources, "direct", *[1.0] * 15)
    for name in ALL[1:]:
        await teach(resources, name, *[0.0] * 8)

    assert (await shares(resources))["direct"] > 0.9


async def test_scores_on_similar_questions_count_more(resources: ScriptedResources) -> None:
    sums, rivers = "Calculate the sum of two numbers", "Which river is longest in the world"
    for question, best, worst in ((sums, "direct", "dream"), (rivers, "dream", "direct")):
        await teach(resources, best, *[1.0] * 12, question=question)
        await teach(resources, worst, *[0.0] * 12, question=question)

    two = ("direct", "dream")
    like_sums = await shares(resources, question=f"{sums} now", strategies=two)
    like_rivers = await shares(resources, question=f"{rivers} now", strategies=two)

    assert like_sums["direct"] > 0.8
    assert like_rivers["dream"] > 0.8


async def test_the_propensity_is_how_often_it_is_chosen(resources: ScriptedResources) -> None:
    await teach(resources, "direct", 1.0, 0.4)
    await teach(resources, "dream", 1.0, 0.4)

    told = {"strategies": ("direct", "dream")}
    choices = [(await choose(resources, seed=seed, **told)).choice for seed in range(150)]

    share = sum(c["strategy"] == "direct" for c in choices) / len(choices)
    direct = next(c for c in choices if c["strategy"] == "direct")
    assert 0.02 < share < 0.98
    assert share == pytest.approx(direct["propensity"], abs=0.13)
    assert 0 < direct["error"] <= 0.0112
    assert 0 < direct["entropy"] <= 1


async def test_a_seed_repeats_the_choice_and_another_draws_anew(
    resources: ScriptedResources,
) -> None:
    for name in ALL:
        await teach(resources, name, 1.0, 0.0)

    first = [(await choose(resources, seed=seed)).choice["sequence"] for seed in range(30)]
    again = [(await choose(resources, seed=seed)).choice["sequence"] for seed in range(30)]

    assert first == again
    assert {sequence[0] for sequence in first} == set(ALL)


async def test_the_reason_says_whether_it_explores(resources: ScriptedResources) -> None:
    await teach(resources, "direct", 1.0, 0.7)
    await teach(resources, "dream", 1.0, 0.2)
    told = {"strategies": ("direct", "dream")}

    choices = [(await choose(resources, seed=seed, **told)).choice for seed in range(60)]
    whys = {c["strategy"]: c["why"] for c in choices}

    assert whys["direct"].startswith("expected reward 0.")
    assert whys["direct"].endswith("from 2 scored attempts, the highest")
    assert whys["dream"].startswith("explored: expected reward 0.")
    assert ", direct has 0." in whys["dream"]


async def test_another_process_learns_from_the_same_log(resources: ScriptedResources) -> None:
    other = ScriptedResources(resources.settings)
    try:
        await choose(other)  # it has read the log before, when it was empty
        await teach(resources, "direct", 1.0, 1.0)

        choice = (await choose(other)).choice

        direct = next(b for b in choice["posterior"] if b["strategy"] == "direct")
        assert direct["runs"] == 2
        assert direct["mean"] > 0.6
    finally:
        await other.close()


# -- candidates --------------------------------------------------------------------------------


async def test_only_allowed_strategies_are_chosen(resources: ScriptedResources) -> None:
    await teach(resources, "chain_of_thought", *[1.0] * 5)

    assert set(await shares(resources, 20, strategies=("direct", "dream"))) <= {"direct", "dream"}
    assert (await choose(resources, strategies=("direct",))).choice["propensity"] == 1.0


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
    context = Context(tokens=tokens, strategies=ALL)

    assert [s.name for s in candidates(context, [], fresh(context))] == expected


def test_measured_costs_replace_declared_ones() -> None:
    context = Context(tokens=1000, strategies=ALL)

    cheap, rare = cost(900, runs=3), cost(900, runs=2)

    assert "dream" in names(context, costs={"dream": cheap})
    assert "dream" not in names(context, costs={"dream": rare})
    assert "direct" not in names(context, costs={"direct": cost(1500, runs=9)})


def test_what_was_tried_is_no_candidate_again() -> None:
    context = Context(strategies=ALL)

    assert names(context, tried=("dream",)) == list(ALL[:2])
    assert names(context, tried=ALL) == []


def test_what_a_strategy_needs_has_to_be_there() -> None:
    every = (*ALL, "tools", "reflect")

    assert names(Context(strategies=every)) == [*ALL, "tools"]
    assert names(Context(strategies=every), tried=("direct",)) == [*every[1:]]
    assert names(Context(strategies=every, tools=(), max_facts=0)) == list(ALL[:2])
    # Where nothing else is allowed, what needs an earlier attempt does without.
    assert names(Context(strategies=("reflect",))) == ["reflect"]
    assert names(Context(strategies=("tools",), tools=())) == ["tools"]


# -- the plan ----------------------------------------------------------------------------------


async def test_later_choices_follow_the_plan(resources: ScriptedResources) -> None:
    for name in ALL:
        await teach(resources, name, 1.0, 0.0)
    plan = (await choose(resources)).choice
    first, second, _ = plan["sequence"]

    # Whatever is learned meanwhile: the propensities are those of the plan.
    await teach(resources, plan["sequence"][2], *[1.0] * 20)
    choice = (await choose(resources, tried=(first,), before=plan)).choice

    assert choice["strategy"] == second
    assert choice["sequence"] == plan["sequence"]
    assert choice["propensity"] == plan["propensities"][1]
    assert choice["why"] == f"after {first}: the next of the plan {', '.join(plan['sequence'])}"
    assert dict(zip(NAMES, choice["features"], strict=True))["later"] == 1.0


async def test_a_plan_that_costs_too_much_by_now_is_made_anew(
    resources: ScriptedResources,
) -> None:
    plan = (await choose(resources)).choice
    assert plan["sequence"] == ["dream", "direct", "chain_of_thought"]
    await teach(resources, "direct", 1.0)
    dear = {"direct": cost(5000, runs=5)}

    choice = (
        await choose(resources, tried=("dream",), before=plan, costs=dear, tokens=4000)
    ).choice

    assert choice["strategy"] == "chain_of_thought"
    assert choice["why"] == "after dream"
    assert choice["sequence"] == ["dream", "chain_of_thought"]


async def test_where_only_one_is_left_to_choose_its_propensity_is_one(
    resources: ScriptedResources,
) -> None:
    """Whatever was planned when more could be paid: the plan's own propensity would be too low."""
    for name in ALL:
        await teach(resources, name, 1.0, 0.0)
    dear = {"dream": cost(5000, runs=5)}
    plans = [(await choose(resources, seed=seed)).choice for seed in range(30)]
    wanted = ("direct", "chain_of_thought", "dream")
    plan = next(p for p in plans if tuple(p["sequence"]) == wanted)
    assert plan["propensities"][1] < 0.95

    told = {"tried": ("direct",), "before": plan, "costs": dear, "tokens": 4000}
    choice = (await choose(resources, **told)).choice

    assert choice["candidates"] == ["chain_of_thought"]
    assert (choice["strategy"], choice["propensity"]) == ("chain_of_thought", 1.0)


async def test_a_plan_whose_order_was_left_is_made_anew(resources: ScriptedResources) -> None:
    """Of what was tried out of turn, the places behind it say nothing any more."""
    for name in (*ALL, "reflect"):
        await teach(resources, name, 1.0, 0.0)
    every = (*ALL, "reflect")
    told: dict[str, Any] = {"strategies": every, "tried": ("direct",)}
    first = (await choose(resources, strategy="direct")).choice
    plans = [(await choose(resources, seed=seed, **told)).choice for seed in range(40)]
    plan = next(p for p in plans if p["sequence"][-1] == "reflect")
    again: Planned = {"strategy": "reflect", "template": "", "why": "it was not sure"}
    tried = ("direct", plan["strategy"])
    reflected = (
        await choose(
            resources,
            strategies=every,
            tried=tried,
            before=plan,
            choices=[first, plan],
            planned=again,
        )
    ).choice
    assert (reflected["forced"], reflected["sequence"]) == (True, plan["sequence"])

    last = (
        await choose(
            resources,
            strategies=every,
            tried=(*tried, "reflect"),
            before=reflected,
            choices=[first, plan, reflected],
        )
    ).choice

    assert last["strategy"] == plan["sequence"][2]
    assert last["propensity"] == 1.0  # nothing else was left, while the plan had a choice
    assert plan["propensities"][2] < 1.0
    assert last["sequence"] == [*tried, "reflect", last["strategy"]]


async def test_nothing_is_set_aside_for_what_was_tried(resources: ScriptedResources) -> None:
    plan = (await choose(resources)).choice
    sequence = plan["sequence"]
    again: Planned = {"strategy": sequence[1], "template": "", "why": "it was told"}

    choice = (
        await choose(resources, tried=(sequence[0], sequence[2]), before=plan, planned=again)
    ).choice

    assert choice["tokens"] == 8000


async def test_what_worked_in_that_order_before_comes_next(resources: ScriptedResources) -> None:
    worked = [recalled("dream", "chain_of_thought", success=0.95)]

    choice = (await choose(resources, sequences=worked)).choice
    assert choice["sequence"] == ["dream", "chain_of_thought", "direct"]

    failed = [recalled("dream", "chain_of_thought", success=0.05)]
    choice = (await choose(resources, sequences=failed)).choice
    assert choice["sequence"] == ["dream", "direct", "chain_of_thought"]


def test_recalled_sequences_are_worth_what_they_were_measured_at() -> None:
    worth = follows(
        [
            recalled("a", "b", "c", success=1.0, similarity=0.8, runs=8),
            recalled("a", "b", success=0.5),
            recalled("b", "c", success=0.0, similarity=1.0, runs=1000),
        ]
    )

    assert worth["a", "b"] == pytest.approx(0.2 * 0.8 * 0.8)
    assert worth["b", "c"] == pytest.approx(-0.2, abs=0.001)  # better measured
    assert follows([recalled("a", success=1.0)]) == {}


async def test_what_assessing_wants_is_done(resources: ScriptedResources) -> None:
    plan = (await choose(resources)).choice
    again: Planned = {"strategy": "dream", "template": "steps@1", "why": "it was not sure"}

    chosen = await choose(resources, tried=("dream",), before=plan, planned=again)

    choice = chosen.choice
    assert (choice["strategy"], choice["template"]) == ("dream", "steps@1")
    assert (choice["why"], choice["propensity"], choice["forced"]) == (again["why"], 1.0, True)
    assert choice["sequence"] == plan["sequence"]
    assert [c["strategy"] for c in chosen.update["choices"]] == ["dream", "dream"]

    after = (await choose(resources, tried=("dream", "dream"), before=choice)).choice
    assert after["strategy"] == plan["sequence"][1]


# -- its tokens --------------------------------------------------------------------------------


async def test_the_attempt_is_given_a_reservation(resources: ScriptedResources) -> None:
    chosen = await choose(resources, tokens=3000)
    (entry,) = chosen.update["ledger"]

    assert (entry["id"], entry["kind"], entry["node"]) == ("attempt:0", "reserve", "select")
    assert entry["tokens"] == chosen.choice["tokens"]
    assert 2000 <= entry["tokens"] < 3000  # the rest is for what may come after it
    assert chosen.choice["scope"] == "attempt:0"


async def test_what_was_asked_for_gets_everything(resources: ScriptedResources) -> None:
    chosen = await choose(resources, strategy="direct", tokens=3000, calls=7)
    (entry,) = chosen.update["ledger"]

    assert (entry["tokens"], entry["calls"]) == (3000, 7)


async def test_a_run_charges_its_attempts_to_their_reservations(
    resources: ScriptedResources,
) -> None:
    ran = await run_graph(resources, strategies=ALL)

    ids = [e["id"] for e in ran.state["ledger"]]
    assert "attempt:0" in ids
    assert "release:attempt:0" in ids
    assert len(ran.state["choices"]) == len(ran.state["attempts"])
    memories = ran.state["memories"]
    assert memories["task_type"] == "causal"
    assert {b["strategy"] for b in memories["posteriors"]} == set(ALL)


def cost(mean: float, *, runs: int) -> MeasuredCost:
    return {"mean": mean, "spread": 0.0, "runs": runs, "seconds": 1.0}


def names(
    context: Context,
    tried: tuple[str, ...] = (),
    costs: dict[str, MeasuredCost] | None = None,
) -> list[str]:
    return [s.name for s in candidates(context, tried, fresh(context), costs)]


def fresh(context: Context) -> Ledger:
    return Ledger(context.limits, (), time.time())


def recalled(
    *strategies: str, success: float, similarity: float = 1.0, runs: int = 20
) -> RecalledSequence:
    return {
        "strategies": list(strategies),
        "similarity": similarity,
        "success": success,
        "runs": runs,
        "tokens": 1000.0,
        "composed": False,
    }
