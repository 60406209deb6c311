"""Strategies of other people: installed as a package, unusable, or misbehaving."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Send

from reverie.errors import BudgetExceeded, ConfigError, OutputInvalid, ReverieError
from reverie.graphs import select
from reverie.graphs.budget import total_tokens
from reverie.graphs.context import Context
from reverie.graphs.state import StrategyState
from reverie.graphs.step import Step
from reverie.graphs.strategies import check_strategies, known_strategies, registry
from reverie.graphs.strategies.registry import Builder, Strategy
from tests.unit.conftest import ScriptedModel, ScriptedResources, run_graph

ROOT = Path(__file__).parents[3]

SHOUT = '''
"""A strategy in a package of its own: the direct answer, in capitals."""

from langgraph.graph import END, START, StateGraph

from reverie.graphs.attempt import answered
from reverie.graphs.confidence import signals_of
from reverie.graphs.context import Context
from reverie.graphs.state import StrategyState
from reverie.graphs.step import Step, attempt_failed
from reverie.graphs.strategies.registry import strategy


async def ask(state, runtime):
    async with Step(state, runtime, "shout.ask") as step:
        messages = step.messages("direct", question=state["question"])
        reply = await step.ask("ask", messages, max_tokens=32)
        text = reply.text.strip().upper()
        return step.update(attempt=answered("shout", text, signals_of(reply.tokens)))


@strategy("shout", cost=150, summary="say it louder")
def build():
    graph = StateGraph(StrategyState, context_schema=Context)
    graph.add_node("ask", ask, error_handler=attempt_failed("shout"))
    graph.add_edge(START, "ask")
    graph.add_edge("ask", END)
    return graph
'''

CHILD = """
import asyncio, json, sys, tempfile
from pathlib import Path

from reverie.graphs.drawing import mermaid
from reverie.graphs.strategies import known_strategies
from reverie.settings import Settings
from tests.unit.conftest import ScriptedResources, run_graph


async def main():
    known = known_strategies()
    resources = ScriptedResources(Settings(home=Path(sys.argv[1])))
    ran = await run_graph(resources, strategy="shout")
    await resources.close()
    print(json.dumps({
        "known": list(known),
        "drawn": "shout" in mermaid(),
        "answer": ran.state["answer"],
        "spent": ran.of("budget")[-1]["cost"]["spent"]["calls"],
    }))


asyncio.run(main())
"""


def install(folder: Path, source: str, name: str = "loud") -> None:
    """What installing a wheel leaves: a package, and the folder that describes it."""
    package = folder / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(source)
    described = folder / f"{name}-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text(f"[{registry.ENTRY_POINTS}]\n{name} = {name}\n")


def in_a_child(folder: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(folder), str(ROOT)))
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": path, "REVERIE_HOME": str(folder / "home")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_an_installed_package_adds_a_strategy(tmp_path: Path) -> None:
    install(tmp_path, SHOUT)

    child = in_a_child(tmp_path, CHILD, str(tmp_path / "home"))

    assert child.returncode == 0, child.stderr
    told = json.loads(child.stdout)
    assert told["known"][0] == "shout"  # the cheapest
    assert told["drawn"]
    assert told["answer"]["text"] == "IT FALLS TO THE GROUND."
    assert told["answer"]["strategy"] == "shout"
    assert told["spent"] == 1


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError"),
        (SHOUT.replace('"shout", cost', '"direct", cost'), "two strategies are called 'direct'"),
        (SHOUT.replace("cost=150", 'cost=150, uses=("shout",)'), "shout → shout"),
    ],
)
def test_a_package_that_cannot_be_used_is_named(source: str, why: str, tmp_path: Path) -> None:
    install(tmp_path, source)
    code = (
        "from reverie.errors import ConfigError\n"
        "from reverie.graphs.strategies import known_strategies\n"
        "try:\n    known_strategies()\n"
        "except ConfigError as error:\n    print(error.message, '|', error.hint)\n"
    )

    child = in_a_child(tmp_path, code)

    assert child.returncode == 0, child.stderr
    message, _, hint = child.stdout.partition(" | ")
    assert why in message
    assert hint.strip()


def plain(name: str, *uses: str) -> Strategy:
    def build() -> Any:
        raise NotImplementedError

    return Strategy(name, build, frozenset(), 1, "", frozenset(uses))


@pytest.mark.parametrize(
    ("strategies", "why"),
    [
        ([plain("a", "a")], "without end: a → a"),
        ([plain("a", "b"), plain("b", "a")], "without end: "),
        ([plain("a", "b"), plain("b", "c"), plain("c", "a")], "without end: "),
        ([plain("a", "b")], "the strategy a runs 'b', which does not exist"),
        ([plain("auto")], "no strategy can be called 'auto'"),
        ([plain("learn")], "no strategy can be called 'learn'"),
        ([plain("two words")], "no strategy can be called 'two words'"),
        ([plain("")], "no strategy can be called ''"),
    ],
)
def test_strategies_that_cannot_work_are_refused(strategies: list[Strategy], why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_strategies({s.name: s for s in strategies})
    assert why in caught.value.message


def test_strategies_may_share_what_they_run() -> None:
    check_strategies({s.name: s for s in (plain("a", "b", "c"), plain("b", "c"), plain("c"))})


# -- misbehaving at work -----------------------------------------------------------------------


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Builder], None]]:
    """Have ``odd`` known for one test."""

    def known(build: Builder) -> None:
        odd = Strategy("odd", build, frozenset(), 100, "", frozenset())
        monkeypatch.setitem(registry._strategies, "odd", odd)
        known_strategies.cache_clear()
        known_strategies()

    yield known
    monkeypatch.undo()
    known_strategies.cache_clear()
    known_strategies()  # what runs next does not read the folder in its event loop


async def pays(state: StrategyState, runtime: Runtime[Context]) -> dict[str, Any]:
    """A good node: it asks the model, and is charged for it."""
    async with Step(state, runtime, "odd.pays") as step:
        messages = step.messages("direct", question=state["question"])
        await step.ask("ask", messages, max_tokens=16)
        entry = step.ledger.reserve("odd:1", 100, 1, node="odd.pays", within=step.scope)
        return step.update(ledger=[entry])


def pays_and_then(node: Any) -> Builder:
    def build() -> StateGraph[Any, Any, Any, Any]:
        graph = StateGraph(StrategyState, context_schema=Context)
        graph.add_node("pays", pays)
        graph.add_node("goes_wrong", node)
        graph.add_edge(START, "pays")
        graph.add_edge("pays", "goes_wrong")
        graph.add_edge("goes_wrong", END)
        return graph

    return build


async def raises(state: StrategyState) -> dict[str, Any]:
    raise ZeroDivisionError("oops")


async def never_ends(state: StrategyState) -> dict[str, Any]:
    await asyncio.sleep(60)
    return {}


async def nothing(state: StrategyState) -> dict[str, Any]:
    return {}


def returns(attempt: object) -> Any:
    async def node(state: StrategyState) -> dict[str, Any]:
        return {"attempt": attempt}

    return node


def loops() -> StateGraph[Any, Any, Any, Any]:
    graph = StateGraph(StrategyState, context_schema=Context)
    graph.add_node("pays", pays)
    graph.add_node("again", nothing)
    graph.add_node("and_again", nothing)
    graph.add_edge(START, "pays")
    graph.add_edge("pays", "again")
    graph.add_edge("again", "and_again")
    graph.add_edge("and_again", "again")
    return graph


NEVER_ENDS = pays_and_then(never_ends)
WRONG: list[tuple[Builder, type[ReverieError], str]] = [
    (pays_and_then(raises), ReverieError, "ZeroDivisionError: oops"),
    (NEVER_ENDS, BudgetExceeded, "the strategy odd did not end in time"),
    (loops, ReverieError, "the strategy odd went round in circles"),
    (pays_and_then(nothing), OutputInvalid, "the strategy odd ended without an attempt"),
    (pays_and_then(returns("9")), OutputInvalid, "odd ended with an attempt that is none"),
    (pays_and_then(returns({"answer": "9"})), OutputInvalid, "that is none: strategy: Field"),
    (pays_and_then(returns([1])), OutputInvalid, "odd ended with an attempt that is none"),
]
NAMES = ["raises", "never ends", "loops", "nothing", "a string", "half of one", "a list"]


@pytest.mark.parametrize("wrong", WRONG, ids=NAMES)
async def test_what_goes_wrong_is_a_typed_error_and_what_was_spent_is_charged(
    wrong: tuple[Builder, type[ReverieError], str],
    register: Callable[[Builder], None],
    resources: ScriptedResources,
    model: ScriptedModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    build, kind, why = wrong
    if build is NEVER_ENDS:  # it gets a second, and the run a lot more
        monkeypatch.setattr(select, "Send", _soon_over)
    await asyncio.to_thread(register, build)  # it reads the folder of strategies

    with pytest.raises(kind, match=why):
        await run_graph(resources, strategy="odd")
    assert len(model.calls) == 1

    model.tokens.clear()
    # While nothing was scored, the last one is the first choice.
    ran = await run_graph(resources, strategies=("direct", "odd"))

    first, second = ran.state["attempts"]
    assert why in first["error"]
    assert (first["strategy"], first["status"]) == ("odd", "failed")
    assert second["status"] == "ok"
    assert ran.state["answer"]["strategy"] == "direct"
    # The first call was the lost strategy's; its reservations are closed, too.
    assert total_tokens(first["usage"]) == model.tokens[0]
    cost = ran.of("budget")[-1]["cost"]
    assert total_tokens(cost["spent"]) == sum(model.tokens)
    assert cost["left"]["tokens"] == cost["limits"]["tokens"] - sum(model.tokens)
    assert cost["left"]["calls"] == cost["limits"]["calls"] - 2


def _soon_over(node: str, task: object, *, timeout: float) -> Send:
    return Send(node, task, timeout=1.0 if node == "odd" else timeout)
