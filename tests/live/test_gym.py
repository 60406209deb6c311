"""The adapter of the measuring model, merged into the packaged one, answers what it was made for.

``TEST_GYM_ADAPTER`` names the adapter's folder.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reverie.agents.reasoner import Reasoner
from reverie.evals.gym.families import TUNING, questions
from reverie.evals.gym.merge import merge
from reverie.evals.gym.record import read_records, record_all
from reverie.evals.gym.settings import gym_settings
from reverie.evals.gym.table import by_strategy
from reverie.settings import load_settings

pytestmark = pytest.mark.live

_ADAPTER = os.environ.get("TEST_GYM_ADAPTER", "")


@pytest.mark.skipif(not _ADAPTER, reason="TEST_GYM_ADAPTER names no adapter")
async def test_the_merged_model_calls_the_calculator(tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="peft is not installed (extra eval)")
    pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed (extra eval)")
    model = merge(Path(_ADAPTER), tmp_path / "model", cache=load_settings().settings.models_folder)
    asked = questions(4, seed=TUNING, families=["lcm", "products"])

    settings = gym_settings(str(model), tmp_path / "home", strategies=("direct", "tools"))
    async with Reasoner(settings) as reasoner:
        pairs = [(question, strategy) for strategy in ("direct", "tools") for question in asked]
        await record_all(reasoner, pairs, tmp_path / "records.jsonl")

    shares = by_strategy(read_records([tmp_path / "records.jsonl"]))
    assert shares["tools"].right >= 0.75
    assert shares["direct"].right < shares["tools"].right
