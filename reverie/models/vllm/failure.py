"""Why a server ended: the line of its log that says it, and what to do."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence

_LONGEST = 300

# (EngineCore pid=17) ERROR 11-23 13:20:44 [core.py:1510] ValueError: ...
_PREFIX = re.compile(r"^(?:\([\w-]+ pid=\d+\) )?(?:[A-Z]+ [\d-]+ [\d:]+ \[[\w.]+:\d+\] )?")
_RAISED = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception): *(.+)")
_USAGE = re.compile(r"^[\w.-]+: error: (.+)")
_INVALID = re.compile(r"^ +(?:Value|Assertion) error, (.+?)(?: \[type=.*)?$")
# Errors that only say that there was another.
_SECONDARY = re.compile(
    r"^(Engine core initialization failed|WorkerProc initialization failed|Worker failed with"
    r"|\d+ validation errors? for|EngineCore encountered an issue|cancelled$)"
)
_DIED = re.compile(r"(?:proc|process|Worker\S*) \S*(?: \S+)? ?died unexpectedly")
_MEMORY = (
    "choose a smaller --window or --kv-cache-gb, or a smaller model "
    "(on a GPU also `-- --gpu-memory-utilization 0.8`)"
)

_REMEDIES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), remedy)
    for pattern, remedy in (
        (
            r"max_model_len.* is greater than",
            "leave --window out: then the window is the model's own",
        ),
        (r"max seq len|maximum model length is", "choose a smaller --window or more --kv-cache-gb"),
        (r"requested memory for kv|VLLM_CPU_KVCACHE_SPACE", "choose a smaller --kv-cache-gb"),
        (r"out of memory|not enough memory|free memory on device|cannot allocate", _MEMORY),
        (
            r"architectures? .*not supported|does not recognize this architecture|no vLLM impl",
            "this vLLM does not know the architecture: try `-- --model-impl transformers`",
        ),
        (r"trust_remote_code", "`-- --trust-remote-code` runs the code that comes with the model"),
        (
            r"address already in use",
            "another program has taken the port: choose one with --port, or none",
        ),
        (
            r"huggingface\.co|on the Hub|hf\.co|not a valid model identifier|gated repo",
            "check the name and the network; a model that needs permission needs HF_TOKEN",
        ),
        (r"tool call parser", "choose one of them with --tool-parser, or none with --no-tools"),
        (
            r"model weights|SafetensorError|safetensors|deserializing|header",
            "the files of the model are damaged or incomplete: fetch it again",
        ),
        (r"tokenizer", "the folder needs the model's tokenizer.json and tokenizer_config.json"),
        (
            r"unrecognized arguments|^argument -",
            "what stands behind -- is passed on to vLLM: its documentation lists the arguments",
        ),
        (
            r"No module named|cannot import name|undefined symbol|shared object",
            "the environment is damaged: remove .venv-vllm and run `make vllm`",
        ),
    )
)
_OTHERWISE = "its log says more"


def explain(lines: Sequence[str], code: int) -> tuple[str, str]:
    """The reason and the remedy, from the log's last ``lines`` and the exit ``code``."""
    if code < 0:  # as subprocess says that a signal ended it
        code = 128 - code
    found = _said(lines)
    if found:
        return found, next((r for p, r in _REMEDIES if p.search(found)), _OTHERWISE)
    if code == 128 + signal.SIGKILL or any(_DIED.search(line) for line in lines[-200:]):
        return "one of its processes was killed, as happens when memory runs out", _MEMORY
    if code > 128:
        try:
            return f"it was ended by {signal.Signals(code - 128).name}", _OTHERWISE
        except ValueError:  # no signal has this number
            pass
    if code == 127 and lines:
        return _shortened(lines[-1]), "is --python (vllm.python) a Python that can be run?"
    return f"it ended with exit code {code}", _OTHERWISE


def _said(lines: Sequence[str]) -> str:
    """The last error that is not the consequence of another; empty if there is none."""
    for line in reversed(lines):
        body = line[match.end() :] if (match := _PREFIX.match(line)) else line
        for pattern in (_INVALID, _RAISED, _USAGE):
            said = pattern.match(body)
            if said and not _SECONDARY.match(said[1]):
                return _shortened(said[1])
    return ""


def _shortened(text: str) -> str:
    """One line of it, at the end of a sentence if it is long."""
    text = " ".join(text.split())
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":  # KeyError quotes its message
        text = text[1:-1]
    if len(text) > _LONGEST:
        cut = text[:_LONGEST]
        sentence = cut.rfind(". ")
        text = cut[:sentence] if sentence > 0 else f"{cut.rsplit(' ', 1)[0]} and so on"
    return text.rstrip(" .:")
