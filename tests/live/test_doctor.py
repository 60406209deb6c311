"""The doctor against a real vLLM with the packaged model."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from reverie.cli import main
from reverie.models.doctor.examine import examine
from reverie.models.profiles import ProfileBook
from reverie.models.vllm.server import Served
from reverie.models.wire.endpoint import Endpoint

pytestmark = pytest.mark.live


async def test_it_finds_out_what_vllm_can_do(vllm: Served) -> None:
    # vLLM compiles at the first request of each kind, for up to 25 s.
    await examine(Endpoint(vllm.address), quick=True)

    began = time.monotonic()
    examination = await examine(Endpoint(vllm.address))
    took = time.monotonic() - began

    assert examination.server == "vLLM"
    assert examination.version
    assert examination.models == (vllm.name,)
    verdicts = {found.ability: found.verdict for found in examination.findings}
    # What this model, of 135 million parameters, does with tools is its own affair.
    assert verdicts | {"tools": "", "parallel_tools": "", "schema_with_tools": ""} == {
        "window": "yes",
        "parameters": "yes",
        "wire": "yes",
        "max_tokens_field": "yes",
        "cut": "yes",
        "sampling": "yes",
        "seed": "yes",
        "stop": "yes",
        "n": "yes",
        "prefill": "yes",
        "usage": "yes",
        "reasoning": "no",
        "tools": "",
        "parallel_tools": "",
        "strict_tools": "yes",
        "json_schema": "yes",
        "schema_patterns": "yes",
        "json_object": "yes",
        "schema_with_tools": "",
        "schema_prefill": "no",
        "grammar": "yes",
        "logprobs": "yes",
        "prompt_logprobs": "yes",
        "token_ids": "yes",
        "embeddings": "no",
        "counter": "yes",
    }
    profile = examination.profile
    assert (profile.window, profile.parameters) == (vllm.window, 135_000_000)
    assert (profile.grammar, profile.counter, profile.usage) == (
        "structured_outputs",
        "vllm",
        "asked",
    )
    assert profile.top_logprobs == 20
    assert profile.tools == "native"
    assert not profile.schema_with_tools

    speeds = {speed.concurrent: speed for speed in examination.speeds}
    assert list(speeds) == [1, 4, 8]
    assert speeds[8].tokens_per_second > 1.5 * speeds[1].tokens_per_second
    assert 0 < speeds[1].first_token_seconds < 5
    assert took < 60


def test_the_command_prints_and_stores_it(
    vllm: Served, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["doctor", vllm.address, "--quick"]) == 0

    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.startswith(f"{vllm.name} by vLLM ")
    stored = ProfileBook.under(tmp_path / "home").find(vllm.address, vllm.name)
    assert stored is not None
    assert stored.profile.json_schema


def test_a_model_that_is_not_served_is_said(
    vllm: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", vllm.address, "--model", "nope"]) == 1

    error = capsys.readouterr().err
    assert vllm.address in error
    assert "nope" in error
    assert error.endswith(f"hint: name one that it has with --model: {vllm.name}\n")
