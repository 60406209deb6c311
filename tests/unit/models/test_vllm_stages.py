"""What vLLM's log says of its coming up."""

from __future__ import annotations

import pytest

from reverie.models.vllm.stages import stage

PREFIX = "(EngineCore pid=26050) INFO 11-23 13:04:05 "


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (
            "[api_utils.py:286] non-default args: {'port': 8811}",
            "Reading the model's configuration",
        ),
        ("[core.py:133] Initializing a V1 LLM engine (v0.32.0) with", "Starting the engine"),
        ("[cpu_model_runner.py:68] Starting to load model /m...", "Loading the weights"),
        ("[default_loader.py:501] Loading weights took 1.37 s", "Making room for keys and values"),
        ("[kv_cache_utils.py:2327] CPU KV cache size: 93,184 tokens", "Warming up"),
        ("[backends.py:500] Dynamo bytecode transform time: 2 s", "Compiling the model"),
        ("[gpu_model_runner.py:1] Capturing CUDA graphs (mixed)", "Recording CUDA graphs"),
        ("[launcher.py:195] Route: /v1/models, Methods: GET", "Opening the port"),
        ("[vllm.py:1703] Enforce eager set, disabling torch.compile, CUDAGraphs", ""),
        ("[x.py:1] anything else", ""),
    ],
)
def test_a_line_of_the_log_tells_the_stage(line: str, text: str) -> None:
    assert stage(PREFIX + line) == text


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (
            "Loading safetensors checkpoint shards:  50% Completed | 2/4 [00:01<00:01]",
            "Loading the weights: 50 % (2 of 4 files)",
        ),
        (
            "model-00001-of-00004.safetensors:  34%|###       | 1.7G/4.9G [00:10<00:20]",
            "Fetching the model: model-00001-of-00004.safetensors, 34 %",
        ),
        ("Fetching 12 files:  25%|##5       | 3/12", "Fetching the model: 25 % of 12 files"),
    ],
)
def test_progress_within_a_stage_stands_behind_a_colon(line: str, text: str) -> None:
    assert stage(line) == text
