"""The command line and the environment that vLLM gets."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from reverie.models.vllm.environment import VllmEnvironment
from reverie.models.vllm.options import VllmOptions

CPU = VllmEnvironment(Path("/venv/bin/python"), "0.32.0", cpu=True)
CUDA = VllmEnvironment(Path("/venv/bin/python"), "0.32.0", cpu=False)
AROUND = {
    "PATH": "/bin",
    "REVERIE_MODEL_API_KEY": "a secret",
    "REVERIE_PREVIEW_API_KEY": "another",
    "PYTHONHOME": "/elsewhere",
    "VLLM_API_KEY": "not asked for",
    "HF_TOKEN": "for the hub",
}


def test_the_command_names_model_place_and_what_was_asked_for() -> None:
    options = VllmOptions(
        model="/models/m", name="m", window=4096, arguments=("--max-model-len", "512")
    )

    command = options.command(CPU, 8811)

    assert command[:3] == ["/venv/bin/python", "-m", "vllm.entrypoints.openai.api_server"]
    pairs = dict(pairwise(command))
    assert pairs["--model"] == "/models/m"
    assert pairs["--served-model-name"] == "m"
    assert (pairs["--host"], pairs["--port"]) == ("127.0.0.1", "8811")
    assert pairs["--tool-call-parser"] == "hermes"
    assert command.index("4096") < command.index("512")
    assert "--enforce-eager" in command


def test_without_a_window_vllm_takes_what_fits_and_without_a_parser_no_tools() -> None:
    command = VllmOptions(model="m", name="m", tool_parser=None).command(CUDA, 1)

    assert command[command.index("--max-model-len") + 1] == "auto"
    assert "--enable-auto-tool-choice" not in command
    assert "--enforce-eager" not in command


def test_the_key_is_in_the_environment_and_nowhere_else() -> None:
    options = VllmOptions(model="m", name="m", key="the key")

    assert options.variables(CPU, AROUND)["VLLM_API_KEY"] == "the key"
    assert "the key" not in " ".join(options.command(CPU, 1))
    assert "the key" not in repr(options)


def test_a_folder_is_served_offline_and_nothing_of_reverie_is_handed_on() -> None:
    variables = VllmOptions(model="/m", name="m", kv_cache_gb=3).variables(CPU, AROUND)

    assert variables["PATH"] == "/bin"
    assert variables["HF_HUB_OFFLINE"] == variables["TRANSFORMERS_OFFLINE"] == "1"
    assert variables["VLLM_NO_USAGE_STATS"] == variables["DO_NOT_TRACK"] == "1"
    assert variables["VLLM_CPU_KVCACHE_SPACE"] == "3"
    assert not {"PYTHONHOME", "VLLM_API_KEY", "REVERIE_MODEL_API_KEY"} & set(variables)
    assert "a secret" not in variables.values()


def test_a_model_of_the_hub_may_be_fetched() -> None:
    variables = VllmOptions(model="org/m", name="m", hub=True).variables(CUDA, AROUND)

    assert "HF_HUB_OFFLINE" not in variables
    assert variables["HF_TOKEN"] == "for the hub"
    assert "VLLM_CPU_KVCACHE_SPACE" not in variables
