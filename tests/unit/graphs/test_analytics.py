"""Where a run's cost came from."""

from __future__ import annotations

import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.graphs.analytics import Part, analytics_of, peak_memory
from reverie.graphs.budget import Entry, Ledger
from reverie.graphs.records import BackendUse, Usage
from tests.unit.conftest import ScriptedResources, run_graph

LEDGER = Ledger({"tokens": 9000, "seconds": 60, "calls": 99, "money": None}, (), time.time())


def use(name: str, tokens: int, calls: int = 1) -> BackendUse:
    return {
        "name": name,
        "calls": calls,
        "tokens_in": tokens,
        "tokens_out": tokens // 2,
        "passed_over": [],
    }


def usage(*backends: BackendUse, lost: int = 0, estimated: bool = False) -> Usage:
    """What some backends took together, and ``lost`` calls of 10 tokens that nobody finished."""
    return {
        "tokens_in": sum(b["tokens_in"] for b in backends) + 10 * lost,
        "tokens_out": sum(b["tokens_out"] for b in backends),
        "calls": sum(b["calls"] for b in backends) + lost,
        "seconds": 2.0,
        "money": 0.5,
        "estimated": estimated,
        "backends": list(backends),
    }


def entry(call: str, node: str, used: Usage) -> Entry:
    return LEDGER.spend(call, used, node=node)


def table(parts: list[Part]) -> dict[str, tuple[int, int, float, float]]:
    return {
        p["name"]: (p["calls"], p["tokens_in"] + p["tokens_out"], p["seconds"], p["money"])
        for p in parts
    }


def test_every_strategy_node_and_model_has_its_sum() -> None:
    entries = [
        LEDGER.reserve("dream:0", 100, 1, node="dream.ground"),
        entry("1", "dream.dream", usage(use("small", 20))),
        entry("2", "dream.dream", usage(use("small", 40), estimated=True)),
        entry("3", "direct.ask", usage(use("large", 60))),
        LEDGER.release("dream:0", node="dream.dream"),
    ]

    found = analytics_of(entries)

    assert table(found["strategies"]) == {
        "dream": (2, 90, 4.0, 1.0),
        "direct": (1, 90, 2.0, 0.5),
    }
    assert list(table(found["nodes"])) == ["dream.dream", "direct.ask"]
    assert table(found["models"]) == {"small": (2, 90, 4.0, 1.0), "large": (1, 90, 2.0, 0.5)}
    assert [p["estimated"] for p in found["strategies"]] == [True, False]


def test_what_nobody_finished_is_nobodys() -> None:
    found = analytics_of([entry("1", "direct.ask", usage(use("a", 20), lost=1))])

    assert table(found["models"]) == {
        "a": (1, 30, 1.5, 0.375),
        "unanswered": (1, 10, 0.5, 0.125),
    }


def test_one_that_was_passed_over_took_nothing() -> None:
    passed: BackendUse = {**use("b", 0, calls=0), "passed_over": ["refused"]}

    found = analytics_of([entry("1", "direct.ask", usage(passed, use("a", 20)))])

    assert list(table(found["models"])) == ["a"]


USES = st.builds(use, st.sampled_from("abc"), st.integers(0, 99), st.integers(0, 3))
ENTRIES = st.lists(
    st.builds(
        lambda number, node, used: entry(str(number), node, used),
        st.integers(0, 10**9),
        st.sampled_from(["direct.ask", "dream.dream", "dream.judge", "shape"]),
        st.builds(
            lambda uses, lost: usage(
                *(u for u in uses if u["calls"] or not u["tokens_in"]), lost=lost
            ),
            st.lists(USES, max_size=3, unique_by=lambda u: u["name"]),
            st.integers(0, 2),
        ),
    ),
    max_size=8,
    unique_by=lambda e: e["id"],
)


@given(ENTRIES)
def test_each_table_adds_up_to_what_was_spent(entries: list[Entry]) -> None:
    spent = LEDGER.plus(*entries).spent
    found = analytics_of(entries)

    for parts in (found["strategies"], found["nodes"], found["models"]):
        for key in ("calls", "tokens_in", "tokens_out", "seconds", "money"):
            assert sum(p[key] for p in parts) == pytest.approx(spent[key])  # type: ignore[literal-required]
        assert any(p["estimated"] for p in parts) == spent["estimated"]


def test_memory_is_told_in_bytes() -> None:
    most = peak_memory()

    if sys.platform == "win32":
        assert most is None
    else:
        assert most is not None
        assert 2**24 < most < 2**42  # an interpreter with numpy takes more than 16 MiB
        assert (peak_memory() or 0) >= most


async def test_a_runs_ledger_says_where_its_cost_came_from(resources: ScriptedResources) -> None:
    ran = await run_graph(resources, strategy="dream", branches=3)

    found = analytics_of(ran.state["ledger"])

    assert [p["name"] for p in found["nodes"]] == ["dream.dream"]
    assert [(p["name"], p["calls"]) for p in found["models"]] == [("scripted", 3)]
