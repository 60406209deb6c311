"""The whole reason graph over a real vLLM."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from reverie import Reasoner
from reverie.models.vllm.server import Served
from reverie.settings import BackendSettings, Settings, load_settings

pytestmark = pytest.mark.live

QUESTION = "What happens when you drop a ball?"


def settings_for(vllm: Served, home: Path) -> Settings:
    """Settings with that server's model, and the models folder of the environment."""
    overrides = {"home": str(home), "model.name": f"{vllm.address}#{vllm.name}"}
    return load_settings(overrides=overrides).settings


@pytest.mark.parametrize("strategy", ["direct", "chain_of_thought", "dream"])
async def test_every_strategy_answers(vllm: Served, profiled: Path, strategy: str) -> None:
    async with Reasoner(settings_for(vllm, profiled)) as reasoner:
        result = await reasoner.aask(QUESTION, strategy=strategy, seed=1)
    assert result.status == "answered"
    assert result.answer
    assert result.strategy == strategy
    assert result.confidence is not None
    spent = result.cost["spent"]
    assert spent["estimated"] is False
    assert spent["tokens_in"] > 0
    assert spent["tokens_out"] > 0
    assert not [notice for notice in result.notices if "probed" in notice]


async def test_dreams_have_facts_as_triplets_and_differ(vllm: Served, profiled: Path) -> None:
    async with Reasoner(settings_for(vllm, profiled)) as reasoner:
        result = await reasoner.aask(QUESTION, strategy="dream", seed=1)
    dreams = result.attempts[-1]["dreams"]
    assert [dream["status"] for dream in dreams] == ["ok"] * 4
    assert len({dream["answer"] for dream in dreams}) == 4
    # The doctor found that the model is small: it chooses among the facts.
    assert {triplet["origin"] for dream in dreams for triplet in dream["triplets"]} == {"fact"}


async def test_a_budget_holds(vllm: Served, profiled: Path) -> None:
    async with Reasoner(settings_for(vllm, profiled)) as reasoner:
        budget = reasoner.settings.budget.model_copy(update={"tokens": 1600})
        result = await reasoner.aask(QUESTION, strategy="dream", budget=budget, seed=1)
    spent = result.cost["spent"]
    assert spent["tokens_in"] + spent["tokens_out"] <= 1600


async def test_a_server_never_probed_answers_and_says_so(vllm: Served, tmp_path: Path) -> None:
    async with Reasoner(settings_for(vllm, tmp_path)) as reasoner:
        result = await reasoner.aask(QUESTION, strategy="direct", seed=1)
    assert result.answer
    assert any(f"reverie doctor {vllm.address}" in notice for notice in result.notices)


async def test_the_next_backend_answers_when_one_is_dead(vllm: Served, profiled: Path) -> None:
    settings = settings_for(vllm, profiled)
    alive = BackendSettings(name=settings.model.name)
    dead = settings.model.model_copy(update={"name": "http://127.0.0.1:1/v1"})
    settings = settings.model_copy(update={"model": dead, "backends": (alive,)})
    async with Reasoner(settings) as reasoner:
        result = await reasoner.aask(QUESTION, strategy="direct", seed=1)
    assert result.answer
    assert {used["name"] for used in result.backends if used["calls"]} == {alive.name}
    assert any("no server answers" in notice for notice in result.notices)


async def test_several_runs_at_once(vllm: Served, profiled: Path) -> None:
    async with Reasoner(settings_for(vllm, profiled)) as reasoner:
        results = await asyncio.gather(
            *(reasoner.aask(QUESTION, strategy="direct", seed=i) for i in range(3))
        )
    assert all(result.answer for result in results)
