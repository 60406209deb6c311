"""Budgets whose limits do not fit each other or the question: a typed error, or work within all."""

from __future__ import annotations

from typing import Any

import pytest

from reverie import Budget
from reverie.errors import BudgetExceeded, ConfigError, ReverieError
from reverie.graphs.budget import total_tokens
from reverie.settings import Settings
from tests.unit.agents.conftest import made
from tests.unit.conftest import QUESTION

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


def priced(settings: Settings, price: float | None) -> Settings:
    model = settings.model.model_copy(update={"price_in": price, "price_out": price})
    return settings.model_copy(update={"model": model})


@pytest.mark.parametrize(
    ("budget", "price", "asked", "kind", "why"),
    [
        ({"tokens": 20}, None, {}, BudgetExceeded, "too few"),
        ({"tokens": 1_000_000, "seconds": 1e-6}, None, {}, ReverieError, "time|seconds"),
        ({"money": 1.0}, None, {}, ConfigError, "no price is known"),
        ({"money": 1e-9, "tokens": 100_000}, 1.0, {}, BudgetExceeded, "money"),
        ({"calls": 1}, None, {"output": SCHEMA}, BudgetExceeded, "takes two model calls"),
        ({"tokens": 150}, None, {"output": SCHEMA}, BudgetExceeded, "too few for an answer of"),
    ],
)
async def test_what_cannot_be_is_an_error_before_any_call(
    *,
    budget: dict[str, Any],
    price: float | None,
    asked: dict[str, Any],
    kind: type[ReverieError],
    why: str,
    settings: Settings,
) -> None:
    it = made(priced(settings, price))
    limits = it.reasoner.settings.budget.model_copy(update=budget)
    try:
        with pytest.raises(kind, match=why):
            await it.reasoner.aask(QUESTION, budget=limits, seed=1, **asked)
        runs = await it.reasoner.aruns()
    finally:
        await it.reasoner.aclose()

    assert it.model.calls == []
    assert all(run.status == "failed" and run.worker == "" for run in runs)


@pytest.mark.parametrize(
    ("budget", "price"),
    [
        ({"calls": 1, "tokens": 100_000}, None),  # fewer calls than branches
        ({"calls": 32, "tokens": 400}, None),  # calls that the tokens do not pay for
        ({"money": 0.0004, "tokens": 100_000}, 1.0),  # money for 400 tokens of many
    ],
)
async def test_the_narrowest_limit_holds(
    budget: dict[str, Any], price: float | None, settings: Settings
) -> None:
    it = made(priced(settings, price))
    limits = Budget.model_validate({**it.reasoner.settings.budget.model_dump(), **budget})
    try:
        result = await it.reasoner.aask(QUESTION, budget=limits, seed=1)
    finally:
        await it.reasoner.aclose()

    spent = result.cost["spent"]
    assert result.status == "answered"
    assert 1 <= spent["calls"] == len(it.model.calls) <= limits.calls
    assert total_tokens(spent) == sum(it.model.tokens) <= limits.tokens
    if limits.money is not None:
        assert 0 < spent["money"] <= limits.money
