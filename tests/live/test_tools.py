"""Tools with real models: in the process, and on a vLLM."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reverie.agents.reasoner import Reasoner
from reverie.errors import RunWaiting
from reverie.models.profiles import ProfileBook
from reverie.models.vllm.server import Served
from reverie.settings import Settings, load_settings

pytestmark = pytest.mark.live


def settings_of(home: Path, cache: Path, **reason: object) -> Settings:
    sections = {"home": home, "model": {"cache": cache}, "reason": {"strategy": "tools", **reason}}
    return Settings.model_validate(sections)


async def test_one_round_of_the_calculator_and_a_letter_that_a_person_approves(
    model_cache: Path, tmp_path: Path
) -> None:
    sent: list[str] = []

    def send_letter(to: str) -> str:
        """Sends a letter to a person."""
        sent.append(to)
        return "the letter was sent"

    settings = settings_of(
        tmp_path, model_cache, tools=["calculator"], tool_rounds=1, ask_before=["tool"]
    )
    async with Reasoner(settings, tools=[send_letter]) as reasoner:
        product = await reasoner.aask("What is 17 times 23?", seed=1)
        with pytest.raises(RunWaiting) as waiting:
            await reasoner.aask("Send a letter to Ada.", seed=1)
        assert sent == []
        letter = await reasoner.areply(waiting.value.run_id, {"approve": True})

    assert product.answer == "391"
    assert product.attempts[0]["tools"][0]["arguments"] == {"expression": "17*23"}
    assert product.cost["spent"]["calls"] == 1
    assert letter.answer == "the letter was sent"
    assert sent == ["Ada"]


async def test_what_a_tool_finds_is_answered_from(model_cache: Path, tmp_path: Path) -> None:
    settings = settings_of(tmp_path, model_cache, tools=["facts"], tool_rounds=2)
    async with Reasoner(settings) as reasoner:
        result = await reasoner.aask("What happens when you drop a glass?", seed=1)

    (attempt,) = result.attempts
    assert "a glass -> is dropped" in attempt["tools"][0]["result"]
    assert re.search(r"break|broken|shatter", result.answer)


async def test_a_server_is_asked_for_calls_as_its_profile_says(
    vllm: Served, profiled: Path
) -> None:
    overrides: dict[str, object] = {
        "home": str(profiled),
        "model.name": f"{vllm.address}#{vllm.name}",
        "reason.tools": "calculator",
        "reason.answer_tokens": 48,
    }
    async with Reasoner(load_settings(overrides=overrides).settings) as reasoner:
        items = [i async for i in reasoner.astream("What is 17 times 23?", strategy="tools")]

    called = [i["call"] for i in items if isinstance(i, dict) and i["type"] == "called"]
    # Whether so small a model calls a tool is its own affair; the server took what it was offered.
    assert called
    stored = ProfileBook.under(profiled).find(vllm.address, vllm.name)
    assert stored is not None
    native = stored.profile.tools == "native"
    assert ("tools" in called[0]["options"]) == native
    assert ("json_schema" in called[0]["options"]) != native
    assert not [call["error"] for call in called if call["error"]]
