"""The strategies that weigh several answers, on the packaged model: real votes, real judgements."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reverie.agents.reasoner import Reasoner
from reverie.agents.result import Result
from reverie.graphs.budget import total_tokens
from reverie.settings import BudgetSettings, Settings

pytestmark = pytest.mark.live

CAPITAL = "What is the capital of France?"
BUDGET = BudgetSettings(tokens=1200, seconds=100)


@pytest.fixture(scope="module")
def reasoner(model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reasoner]:
    settings = Settings.model_validate(
        {
            "home": tmp_path_factory.mktemp("strategies"),
            "model": {"cache": model_cache},
            "reason": {"samples": 3, "best_of": 3, "thought_tokens": 48, "answer_tokens": 24},
        }
    )
    with Reasoner(settings) as opened:
        yield opened


def ask(reasoner: Reasoner, strategy: str, question: str = CAPITAL) -> Result:
    result = reasoner.ask(question, strategy=strategy, budget=BUDGET, seed=1)
    (attempt,) = result.attempts
    spent = result.cost["spent"]
    assert total_tokens(spent) + result.cost["left"]["tokens"] == BUDGET.tokens
    assert total_tokens(attempt["usage"]) == total_tokens(spent) <= BUDGET.tokens
    assert attempt["verdict"] is not None
    assert not spent["estimated"]
    return result


@pytest.mark.parametrize("strategy", ["self_consistency", "panel"])
def test_samples_vote(strategy: str, reasoner: Reasoner) -> None:
    result = ask(reasoner, strategy)

    (attempt,) = result.attempts
    answered = [s for s in attempt["samples"] if s["status"] == "ok"]
    assert len(answered) >= 2
    assert result.answer in {s["answer"] for s in answered}
    assert all(s["confidence"] is None or 0 < s["confidence"] <= 1 for s in answered)
    assert attempt["signals"]["agreement"] is not None


def test_the_model_judges_its_own_candidates(reasoner: Reasoner) -> None:
    result = ask(reasoner, "best_of_n", "What happens when you drop a ball?")

    (attempt,) = result.attempts
    scores = [s["score"] for s in attempt["samples"]]
    assert len({s["answer"] for s in attempt["samples"]}) > 1
    assert all(score is not None and 0 < score < 1 for score in scores)
    best = max(attempt["samples"], key=lambda s: s["score"] or 0.0)
    assert result.answer == best["answer"]


def test_it_reflects_on_its_answer(reasoner: Reasoner) -> None:
    result = ask(reasoner, "reflect")

    (attempt,) = result.attempts
    assert "Paris" in result.answer
    assert attempt["samples"][0]["label"] == "answer"
    assert result.cost["spent"]["calls"] in {2, 3}
