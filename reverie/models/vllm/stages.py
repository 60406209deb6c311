"""What vLLM is doing while it comes up, in plain words, from the lines of its log."""

from __future__ import annotations

import re
from pathlib import PurePath

BEGINNING = "Starting Python and importing vLLM"
ANSWERING = "Waiting for the first answer: it may compile for half a minute"

# In the order in which they come; a line counts when it says what the pattern does.
_STAGES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), text)
    for pattern, text in (
        (r"non-default args: ", "Reading the model's configuration"),
        (r"Initializing a V\d LLM engine", "Starting the engine"),
        (r"Starting to load model|Loading weights on", "Loading the weights"),
        (r"Loading weights took|Model loading took", "Making room for keys and values"),
        (r"torch\.compile takes|Dynamo bytecode|[Cc]ompiling (a|the) graph", "Compiling the model"),
        (r"KV cache size: ", "Warming up"),
        (r"[Cc]apturing (the )?(CUDA|cuda) ?graphs?", "Recording CUDA graphs"),
        (r"Route: /v1/|Started server process", "Opening the port"),
    )
)
_SHARDS = re.compile(r"checkpoint shards: +(\d+)% Completed \| (\d+)/(\d+)")
_FILE = re.compile(r"^([\w./-]+\.(?:safetensors|bin|json|model|txt|gguf)): +(\d+)%")
_FILES = re.compile(r"(?:Fetching|Downloading).*?(\d+) files: +(\d+)%")


def stage(line: str) -> str:
    """What the server began with this line of its log; empty if the line tells nothing."""
    if shards := _SHARDS.search(line):
        return f"Loading the weights: {shards[1]} % ({shards[2]} of {shards[3]} files)"
    if file := _FILE.search(line):
        return f"Fetching the model: {PurePath(file[1]).name}, {file[2]} %"
    if files := _FILES.search(line):
        return f"Fetching the model: {files[2]} % of {files[1]} files"
    return next((text for pattern, text in reversed(_STAGES) if pattern.search(line)), "")
