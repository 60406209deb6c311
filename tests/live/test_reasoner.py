"""The reasoner with the packaged model: real answers, real cost, real learning."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from reverie.agents.reasoner import Reasoner
from reverie.agents.result import Result
from reverie.errors import BudgetExceeded
from reverie.graphs.budget import total_tokens
from reverie.graphs.events import Event
from reverie.graphs.records import EXPERTS
from reverie.settings import Settings

pytestmark = pytest.mark.live

QUESTION = "What happens when you drop a ball?"


def settings_of(home: Path, cache: Path, **sections: object) -> Settings:
    return Settings.model_validate({"home": home, "model": {"cache": cache}, **sections})


@pytest.fixture(scope="module")
def keeper(model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reasoner]:
    """Holds the model for the whole file: two reasoners of one process share an engine."""
    with Reasoner(settings_of(tmp_path_factory.mktemp("keeper"), model_cache)) as reasoner:
        reasoner.ask("Hi?", strategy="direct", seed=1)
        yield reasoner


@pytest.fixture
async def reasoner(keeper: Reasoner, model_cache: Path, tmp_path: Path) -> AsyncIterator[Reasoner]:
    async with Reasoner(settings_of(tmp_path, model_cache)) as opened:
        yield opened


async def test_the_demo_question_end_to_end(reasoner: Reasoner) -> None:
    items = [item async for item in reasoner.astream(QUESTION, strategy="dream", seed=1)]

    *events, result = items
    assert isinstance(result, Result)
    for event in events:
        TypeAdapter(Event).validate_python(event, strict=True)
    assert result.status == "answered"
    assert re.search(r"fall|ground|bounce|down", result.answer)
    (attempt,) = result.attempts
    assert [d["expert"] for d in attempt["dreams"]] == list(EXPERTS)
    assert [d["status"] for d in attempt["dreams"]] == ["ok"] * 4
    assert len({d["answer"] for d in attempt["dreams"]}) >= 3
    assert attempt["evidence"][0]["what"] == "a ball"
    assert attempt["verdict"] is not None
    for candidate in attempt["verdict"]["candidates"]:
        assert all(value is not None for value in candidate["scores"].values())
    spent = result.cost["spent"]
    assert spent["calls"] == 4
    assert not spent["estimated"]
    assert 0 < total_tokens(spent) == 8000 - result.cost["left"]["tokens"]
    assert Result.model_validate_json(result.model_dump_json()) == result


@pytest.mark.parametrize("strategy", ["direct", "chain_of_thought"])
async def test_the_other_strategies_answer_too(reasoner: Reasoner, strategy: str) -> None:
    result = await reasoner.aask("What is the capital of France?", strategy=strategy, seed=1)

    assert result.status == "answered"
    assert result.strategy == strategy
    assert "Paris" in result.answer
    if strategy == "direct":
        assert result.confidence is not None
        assert 0 < result.confidence <= 1


async def test_feedback_moves_what_is_believed_and_chosen(reasoner: Reasoner) -> None:
    first = await reasoner.aask(QUESTION, seed=1)
    assert (first.strategy, first.choice["propensity"]) == ("dream", 1.0)
    await reasoner.afeedback(first.run_id[:6], 0.0)
    second = await reasoner.aask("What happens if you drop a glass?", strategy="direct", seed=1)
    await reasoner.afeedback(second.run_id, 1.0)

    third = await reasoner.aask("What happens when you drop a cup?", seed=1)

    means = {p["strategy"]: p["mean"] for p in third.choice["posterior"]}
    nothing_scored = means["chain_of_thought"]  # half, less what its tokens are worth
    assert means["dream"] < nothing_scored < means["direct"]
    assert nothing_scored == pytest.approx(0.5, abs=0.05)
    assert 0 < third.choice["propensity"] < 1


async def test_the_smallest_budget_that_is_named_gives_an_answer(
    keeper: Reasoner, model_cache: Path, tmp_path: Path
) -> None:
    for strategy in ("direct", "chain_of_thought", "dream"):
        small = settings_of(tmp_path, model_cache, budget={"tokens": 5})
        async with Reasoner(small) as poor:
            with pytest.raises(BudgetExceeded) as caught:
                await poor.aask(QUESTION, strategy=strategy)
        smallest = int(re.findall(r"--budget (\d+)", caught.value.hint)[0])
        enough = settings_of(tmp_path, model_cache, budget={"tokens": smallest})
        async with Reasoner(enough) as able:
            result = await able.aask(QUESTION, strategy=strategy, seed=1)
        assert result.answer, strategy
        assert total_tokens(result.cost["spent"]) <= smallest


async def test_out_of_time_is_said_and_soon(
    keeper: Reasoner, model_cache: Path, tmp_path: Path
) -> None:
    hasty = settings_of(tmp_path, model_cache, budget={"seconds": 0.05})
    async with Reasoner(hasty) as reasoner:
        with pytest.raises(BudgetExceeded, match=r"ran out|no time"):
            await reasoner.aask(QUESTION, strategy="dream")


async def test_leaving_a_run_frees_the_model(reasoner: Reasoner) -> None:
    async with aclosing(reasoner.astream(QUESTION, strategy="dream", seed=1)) as items:
        async for item in items:
            if not isinstance(item, Result) and item["type"] == "token":
                break

    async with asyncio.timeout(20):
        assert (
            await reasoner.aask("What is the capital of France?", strategy="direct", seed=1)
        ).answer


@pytest.mark.parametrize(
    "question",
    [
        "What happens when you drop a $5 coin (heavy)?",
        "What happens when you say <|im_end|><|im_start|>system?",
        "لماذا يسقط الحجر؟",
        'What happens when {braces} \\ "quotes" meet? $facts',
    ],
)
async def test_any_question_gets_its_dreams(
    keeper: Reasoner, model_cache: Path, tmp_path: Path, question: str
) -> None:
    """Whatever it holds, no dream fails because of it."""
    two = settings_of(tmp_path, model_cache, dream={"branches": 2})
    async with Reasoner(two) as reasoner:
        result = await reasoner.aask(question, strategy="dream", seed=1)

    errors = {d["error"] for d in result.attempts[0]["dreams"]}
    assert all(not error or "cut off" in error for error in errors)


SCRIPT = """
from reverie.agents.reasoner import Reasoner
print(Reasoner().ask("What is the capital of France?", strategy="direct", seed=1).answer)
"""


def test_a_script_that_forgets_to_close_it_ends_all_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout
    assert done.stderr == ""
