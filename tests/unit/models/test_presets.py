"""What is known of servers before they are asked: data that must fit, and be found."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from reverie.models.presets import (
    Preset,
    find_preset,
    paths_to_ask,
    presets,
    recognise,
    split_preset,
    starting_profile,
)
from reverie.models.profile import ModelProfile
from reverie.settings.values import PRESETS

ALL = pytest.mark.parametrize("preset", presets(), ids=lambda preset: preset.name)


def test_the_settings_know_the_same_names() -> None:
    assert {preset.name for preset in presets()} == set(PRESETS)


@ALL
def test_every_preset_says_where_its_facts_are_from(preset: Preset) -> None:
    assert preset.notes
    assert all(note.source.startswith("https://") for note in preset.notes)
    assert preset.address.startswith("https://" if preset.needs_key else "http://127.0.0.1:")
    assert preset.profile_for("any").name == "any"


@ALL
def test_every_preset_can_be_recognised(preset: Preset) -> None:
    marks = preset.recognise
    assert marks.owned_by or marks.hosts or marks.paths
    for owner in marks.owned_by:
        assert recognise({"data": [{"id": "m", "owned_by": owner}]}) == preset
    for mark in marks.paths:
        assert mark.path in paths_to_ask()
        assert recognise({"data": []}, {mark.path: {mark.key: "anything"}}) == preset
    for host in marks.hosts:
        assert recognise(None, address=f"https://{host}/v1") == preset


@pytest.mark.parametrize(
    ("models", "answers"),
    [
        (None, {}),
        ("<html>", {}),
        ({"data": None}, {}),
        ({"data": ["vllm", 5, None]}, {}),
        ({"data": [{"id": "m", "owned_by": "someone"}]}, {"//props": None, "//api/version": []}),
        ({"data": [{"id": "vllm", "owned_by": None}]}, {"//props": {"total_slots": 1}}),
    ],
)
def test_what_is_not_known_is_not_guessed(models: Any, answers: dict[str, Any]) -> None:
    assert recognise(models, answers, address="http://127.0.0.1:8000/v1") is None


def test_an_unprobed_server_starts_from_its_preset_or_from_caution() -> None:
    vllm = starting_profile("qwen", find_preset("vllm"))
    unknown = starting_profile("qwen", None)

    assert vllm.json_schema
    assert vllm.counter == "vllm"
    assert not vllm.schema_with_tools
    assert unknown == ModelProfile(name="qwen")


@pytest.mark.parametrize(
    ("name", "preset", "model"),
    [
        ("ollama:qwen3:8b", "ollama", "qwen3:8b"),
        ("openai:gpt-5.1-codex", "openai", "gpt-5.1-codex"),
        ("vllm", "vllm", ""),
        ("OLLAMA:a/b", "ollama", "a/b"),
    ],
)
def test_a_name_may_begin_with_a_preset(name: str, preset: str, model: str) -> None:
    found = split_preset(name)

    assert found is not None
    assert (found[0].name, found[1]) == (preset, model)


@pytest.mark.parametrize(
    "name", ["smollm2", "http://127.0.0.1:8000/v1", "/models/vllm", "ollamas:a"]
)
def test_other_names_have_none(name: str) -> None:
    assert split_preset(name) is None


@pytest.mark.parametrize("model", ["gpt-5.1-codex", "gpt-5-codex-mini", "codex-mini-latest"])
def test_codex_models_speak_responses_and_take_no_options(model: str) -> None:
    found = find_preset("openai")
    assert found is not None
    profile = found.profile_for(model)

    assert profile.wire == "responses"
    assert profile.max_tokens_field == "max_output_tokens"
    assert profile.window == 400_000
    assert profile.json_schema
    assert not any((profile.sampling, profile.stop, profile.seed, profile.logprobs, profile.n))


@pytest.mark.parametrize(
    ("model", "sampling"),
    [
        ("o3-mini", False),
        ("gpt-5", False),
        ("gpt-5-mini-2025", False),
        ("gpt-5-chat-latest", True),
        ("gpt-4o", True),
        ("gpt-4.1-mini", True),
        ("omni", True),
    ],
)
def test_reasoning_models_take_no_sampling_options(model: str, *, sampling: bool) -> None:
    found = find_preset("openai")
    assert found is not None
    profile = found.profile_for(model)

    assert profile.wire == "chat"
    assert profile.max_tokens_field == "max_completion_tokens"
    assert profile.sampling == sampling
    assert profile.logprobs == sampling
    assert profile.stop == sampling


def test_the_page_of_servers_is_in_step(repository: Path) -> None:
    page = (repository / "docs" / "servers.md").read_text(encoding="utf-8")
    written = runpy.run_path(str(repository / "docs" / "servers.py"))["written"]

    assert written(page) == page, "run `python docs/servers.py`"
