"""Typed answers of the packaged model: whatever it says, the document obeys the schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, Field

from reverie.agents.reasoner import Reasoner
from reverie.graphs.budget import total_tokens
from reverie.settings import BudgetSettings, Settings

pytestmark = pytest.mark.live


class Capital(BaseModel):
    city: str = Field(max_length=30)
    is_large: bool


class Drop(BaseModel):
    direction: Literal["up", "down", "sideways"]


@pytest.fixture(scope="module")
def reasoner(model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reasoner]:
    settings = Settings.model_validate(
        {"home": tmp_path_factory.mktemp("typed"), "model": {"cache": model_cache}}
    )
    with Reasoner(settings) as opened:
        yield opened


def test_a_direct_answer_becomes_an_object(reasoner: Reasoner) -> None:
    result = reasoner.ask(
        "What is the capital of France?",
        strategy="direct",
        budget=BudgetSettings(tokens=1500),
        seed=1,
        output=Capital,
    )

    assert isinstance(result.output, Capital)
    assert "Paris" in result.output.city
    assert total_tokens(result.cost["spent"]) <= 1500
    assert {part["name"] for part in result.analytics["strategies"]} == {"direct", "shape"}
    document = json.loads(result.model_dump_json())["output"]
    assert Capital.model_validate(document) == result.output


def test_a_dream_becomes_one_too(reasoner: Reasoner) -> None:
    result = reasoner.ask(
        "What happens when you drop a ball?",
        strategy="dream",
        budget=BudgetSettings(tokens=3000),
        seed=1,
        output=Drop,
    )

    assert isinstance(result.output, Drop)
    assert result.cost["spent"]["calls"] >= 3
    assert total_tokens(result.cost["spent"]) <= 3000
