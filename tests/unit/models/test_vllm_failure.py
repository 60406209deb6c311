"""Reasons and remedies, from what vLLM 0.32 has written."""

# ruff: noqa: E501  # lines as they are in the log

from __future__ import annotations

import pytest

from reverie.models.vllm.failure import explain

CONSEQUENCES = """\
(EngineCore pid=352) ERROR 11-23 13:19:47 [core.py:1510] Exception: WorkerProc initialization failed due to an exception in a background process. See stack trace for root cause.
Exception: WorkerProc initialization failed due to an exception in a background process. See stack trace for root cause.
  File "/x/vllm/v1/engine/utils.py", line 1431, in wait_for_engine_startup
    raise RuntimeError(
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
/x/multiprocessing/resource_tracker.py:254: UserWarning: resource_tracker: There appear to be 1 leaked shared_memory objects to clean up at shutdown
  warnings.warn('resource_tracker: There appear to be %d '
"""
SEEN = {
    "window": (
        """\
pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig
  Value error, User-specified max_model_len (100000) is greater than the derived max_model_len (max_position_embeddings=8192.0 or model_max_length=None in model's config.json). To allow overriding this maximum, set the env var VLLM_ALLOW_LONG_MAX_MODEL_LEN=1. VLLM_ALLOW_LONG_MAX_MODEL_LEN must be used with extreme caution. [type=value_error, input_value=ArgsKwargs((), {'model': ...rocessor_plugin': None}), input_type=ArgsKwargs]
    For further information visit https://errors.pydantic.dev/2.14/v/value_error
""",
        "User-specified max_model_len (100000) is greater",
        "--window",
    ),
    "memory for keys": (
        """\
(Worker pid=364) ERROR 11-23 13:19:47 [multiproc_executor.py:1063] ValueError: Available memory on node 0 (7.01/12.96 GiB) on kv cache allocation is less than requested memory for kv (4000.0 GiB). Decrease --kv-cache-memory-bytes, VLLM_CPU_KVCACHE_SPACE, or reduce CPU memory used by other processes.
(EngineCore pid=352) ERROR 11-23 13:19:47 [core.py:1510] RuntimeError: Worker failed with error 'Available memory on node 0 (7.01/12.96 GiB) on kv cache allocation is less than requested memory for kv (4000.0 GiB). Decrease --kv-cache-memory-bytes, VLLM_CPU_KVCACHE_SPACE, or reduce CPU memory used by other processes.', please check the stack trace above for the root cause
"""
        + CONSEQUENCES,
        "Available memory on node 0",
        "a smaller --kv-cache-gb",
    ),
    "window and memory": (
        """\
(EngineCore pid=2134) ERROR 11-23 13:23:50 [core.py:1510] ValueError: To serve at least one request with the model's max seq len (8192), (0.18 GiB KV cache is needed, which is larger than the available KV cache memory (0.01 GiB). Based on the available memory, the estimated maximum model length is 384. Try increasing `gpu_memory_utilization` (which also controls CPU memory on the CPU backend)
"""
        + CONSEQUENCES,
        "estimated maximum model length is 384",
        "a smaller --window",
    ),
    "architecture": (
        f"""\
pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig
  Value error, Model architectures ['FooForCausalLM'] are not supported for now. Supported architectures: dict_keys([{"'AForCausalLM', " * 300}]) [type=value_error, input_value=ArgsKwargs((), {{}})]
    For further information visit https://errors.pydantic.dev/2.14/v/value_error
""",
        "['FooForCausalLM'] are not supported for now",
        "--model-impl transformers",
    ),
    "kind of model": (
        """\
(APIServer pid=573) ERROR 11-23 13:20:16 [repo_utils.py:124] Error parsing config for /models/odd: The checkpoint you are trying to load has model type `foo` but Transformers does not recognize this architecture.
pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig
  Value error, The checkpoint you are trying to load has model type `foo` but Transformers does not recognize this architecture. This could be because of an issue with the checkpoint, or because your version of Transformers is out of date.
""",
        "model type `foo`",
        "--model-impl transformers",
    ),
    "weights": (
        "(Worker pid=1056) ERROR 11-23 13:21:36 [multiproc_executor.py:953] RuntimeError: Cannot find any model weights with `/models/odd`\n"
        + CONSEQUENCES,
        "Cannot find any model weights with `/models/odd`",
        "fetch it again",
    ),
    "damaged weights": (
        "(Worker pid=682) ERROR 11-23 13:20:44 [multiproc_executor.py:953] safetensors._safetensors_rust.SafetensorError: Error while deserializing header: incomplete metadata, file not fully covered\n"
        + CONSEQUENCES,
        "incomplete metadata",
        "fetch it again",
    ),
    "tokenizer": (
        """\
ValueError: Couldn't instantiate the backend tokenizer from one of:
(1) a `tokenizers` library serialization file,
You need to have sentencepiece or tiktoken installed to convert a slow tokenizer to a fast one.
""",
        "Couldn't instantiate the backend tokenizer",
        "tokenizer.json",
    ),
    "arguments": (
        "usage: api_server.py [-h]\napi_server.py: error: unrecognized arguments: --foo\n",
        "unrecognized arguments: --foo",
        "behind --",
    ),
    "hub": (
        """\
httpx2.ConnectError: [Errno -2] Name or service not known
The above exception was the direct cause of the following exception:
OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them in the cached files.
Check your internet connection or see how to run the library in offline mode at 'https://huggingface.co/docs/transformers/installation#offline-mode'.
""",
        "We couldn't connect to 'https://huggingface.co'",
        "the network",
    ),
    "tool parser": (
        f"KeyError: 'invalid tool call parser: foo (chose from {{ apertus,hermes{',other' * 400} }})'\n",
        "invalid tool call parser: foo",
        "--tool-parser",
    ),
    "other": (
        """\
  Value error, Total number of attention heads (9) must be divisible by tensor parallel size (7). [type=value_error, input_value=ArgsKwargs((), {})]
    For further information visit https://errors.pydantic.dev/2.14/v/value_error
""",
        "must be divisible by tensor parallel size (7)",
        "log",
    ),
    # These three are as Python, torch and the kernel word them.
    "port": ("OSError: [Errno 98] Address already in use", "Address already in use", "--port"),
    "GPU memory": (
        "(Worker pid=1) ERROR 11-23 13:20:44 [x.py:9] torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB.",
        "CUDA out of memory",
        "--gpu-memory-utilization",
    ),
    "damaged environment": (
        "ModuleNotFoundError: No module named 'uvloop'",
        "No module named 'uvloop'",
        "make vllm",
    ),
}


@pytest.mark.parametrize("case", SEEN)
def test_the_first_cause_is_said_in_one_short_line(case: str) -> None:
    log, reason, remedy = SEEN[case]

    said, hint = explain(["INFO: something before", *log.splitlines()], 1)

    assert reason in said
    assert len(said) <= 310
    assert not said.endswith(".")
    assert remedy in hint


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("(APIServer pid=1) INFO: something", 137),
        ("(APIServer pid=1) INFO: something", -9),
        (
            "(APIServer pid=1) ERROR 11-23 13:20:44 [utils.py:9] Engine core proc EngineCore died unexpectedly, shutting down client.",
            0,
        ),
        (
            "(EngineCore pid=1) ERROR 11-23 13:20:44 [x.py:9] Worker proc VllmWorker-0 died unexpectedly, shutting down executor.",
            1,
        ),
    ],
)
def test_being_killed_means_that_memory_ran_out(line: str, code: int) -> None:
    said, hint = explain([line], code)

    assert "killed" in said
    assert "--kv-cache-gb" in hint


def test_without_any_words_the_code_is_said() -> None:
    assert explain([], 3)[0] == "it ended with exit code 3"
    assert "SIGSEGV" in explain(["some line"], 139)[0]
    assert explain(["/x/python: No such file or directory"], 127)[0].startswith("/x/python")
