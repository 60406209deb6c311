"""The embedded engine against plain batched ``transformers.generate``, on the packaged model.

Each side runs in a process of its own (``python -m reverie.evals.bench.engine SIDE``), because the
number of threads and how they wait is fixed when torch is imported. Prompts are new in every
repeat, so that no prefix cache helps; both sides generate exactly ``_TOKENS`` tokens a request.
"""

from __future__ import annotations

import asyncio
import json
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from reverie.evals.bench import Goal, Progress, Report, Table
from reverie.evals.bench.machine import load_average, processor
from reverie.models.embedded.checkpoint import prepare
from reverie.models.embedded.engine import Engine, EngineOptions
from reverie.models.embedded.request import Finished, GenerationRequest, Sampling
from reverie.settings import load_settings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from reverie.graphs.records import Fact

_WIDTHS = (1, 4, 8, 16)
_TOKENS = 64
_SEED = 0
_GOALS = {4: 1.6, 8: 2.0}

_ADJECTIVES = ("lost", "tiny", "golden", "silent", "brave", "clumsy", "ancient", "curious")
_NOUNS = ("lighthouse", "robot", "river", "violin", "dragon", "baker", "comet", "garden", "clock")
_THINGS = ("ball", "cup", "spoon", "book", "key", "shoe", "coin", "stone", "plate", "pencil", "hat")


def run(repeats: int, progress: Progress) -> Report:
    """Measure both sides and put them side by side."""
    folder = prepare(load_settings().settings.models_folder)
    load = load_average()
    progress("the engine: requests at once, dreams, prefixes")
    ours = _in_process("engine", folder, repeats)
    progress("plain transformers.generate of the same prompts")
    plain = _in_process("plain", folder, repeats)
    seconds = {width: statistics.median(ours["widths"][str(width)]) for width in _WIDTHS}
    return Report(
        tables=(
            Table(
                f"Concurrent requests of {_TOKENS} tokens, median of {repeats}",
                ("", "at once", "seconds", "spread", "to one", "tokens/s"),
                (
                    *_width_rows("engine", ours["widths"]),
                    *_width_rows("transformers.generate", plain["widths"]),
                ),
            ),
            Table(
                f"The engine's other numbers, median of {repeats}",
                ("", "seconds", "spread"),
                tuple((name, *_middle(values)) for name, values in ours["others"].items()),
            ),
        ),
        goals=tuple(
            Goal(f"{width} at once to one", limit, seconds[width] / seconds[1])
            for width, limit in _GOALS.items()
        ),
        facts={
            "processor": processor(),
            "load before": load,
            "threads": int(ours["threads"]),
            "dtype": str(ours["dtype"]),
            "seed": _SEED,
            "Python": platform.python_version(),
            **{name: version(name) for name in ("torch", "transformers", "llguidance")},
        },
    )


def _width_rows(side: str, widths: dict[str, list[float]]) -> Iterator[tuple[Any, ...]]:
    one = statistics.median(widths["1"])
    for width in _WIDTHS:
        middle, spread = _middle(widths[str(width)])
        yield side, width, middle, spread, middle / one, round(width * _TOKENS / middle)


def _middle(values: Sequence[float]) -> tuple[float, str]:
    return statistics.median(values), f"{min(values):.2f} to {max(values):.2f}"


def _in_process(side: str, folder: Path, repeats: int) -> dict[str, Any]:
    child = subprocess.run(
        [sys.executable, "-m", __name__, side, str(folder), str(repeats)],
        stdout=subprocess.PIPE,
        check=True,
    )
    measured: dict[str, Any] = json.loads(child.stdout)
    return measured


# -- the two sides, each in its own process --------------------------------------------------


def _stories() -> Iterator[str]:
    """Questions whose answers are long, every one another."""
    names = [f"{adjective} {noun}" for adjective in _ADJECTIVES for noun in _NOUNS]
    random.Random(_SEED).shuffle(names)  # noqa: S311  # a fixed order, not a secret
    while True:
        for number, name in enumerate(names):
            yield f"Number {number}: tell me a long story about a {name}."


def _prompt(tokenizer: PreTrainedTokenizerFast, question: str, system: str = "") -> tuple[int, ...]:
    turns = [{"role": "system", "content": system}] if system else []
    turns.append({"role": "user", "content": question})
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    return tuple(tokenizer.encode(text, add_special_tokens=False))


def _engine_side(folder: Path, repeats: int) -> dict[str, Any]:
    def load() -> tuple[float, Engine]:
        began = time.perf_counter()
        engine = Engine.load(folder, EngineOptions(max_batch=max(_WIDTHS)))
        return time.perf_counter() - began, engine

    with_imports, engine = load()
    import torch  # after Engine.load, which says how torch's threads wait

    loads = [load()[0] for _ in range(repeats)]
    stories = _stories()

    def tell(width: int, tokens: int) -> float:
        prompts = [_prompt(engine.tokenizer, next(stories)) for _ in range(width)]
        return _seconds(
            engine, [GenerationRequest(p, Sampling(max_tokens=tokens)) for p in prompts], tokens
        )

    for width in _WIDTHS:
        tell(width, 4)  # warm
    rounds = [{width: tell(width, _TOKENS) for width in _WIDTHS} for _ in range(repeats)]
    first_dreams = _dream_seconds(engine, _THINGS[0])
    others = {
        "load, importing torch and transformers": [with_imports],
        "load again": loads,
        "first token of a 40-token prompt": [tell(1, 1) for _ in range(repeats)],
        "four dreams, the first ones": [first_dreams],
    }
    for name, change in _VARIANTS.items():
        with change():
            others[name] = [
                _dream_seconds(engine, _THINGS[(number + 1) % len(_THINGS)])
                for number in range(repeats)
            ]
    return {
        "widths": {width: [r[width] for r in rounds] for width in _WIDTHS},
        "others": others,
        "threads": torch.get_num_threads(),
        "dtype": "bfloat16",
    }


def _seconds(engine: Engine, requests: Sequence[GenerationRequest], tokens: int = 0) -> float:
    """How long the requests take together. ``tokens``: how many each has to generate."""

    async def together() -> list[Finished]:
        return await asyncio.gather(*(_end(engine, request) for request in requests))

    began = time.perf_counter()
    ends = asyncio.run(together())
    seconds = time.perf_counter() - began
    if tokens and any(end.completion_tokens != tokens for end in ends):
        said = [end.completion_tokens for end in ends]
        print(f"  replies ended early, after {said} tokens", file=sys.stderr)
    return seconds


async def _end(engine: Engine, request: GenerationRequest) -> Finished:
    async for item in engine.generate(request):
        if isinstance(item, Finished):
            return item
    raise AssertionError("a reply always ends")


def _dream_seconds(engine: Engine, thing: str) -> float:
    """How long the four dreams of a question take, asked as the dream strategy asks them."""
    from reverie.graphs.dream_prompt import dream_prompt
    from reverie.graphs.records import EXPERTS, Expert
    from reverie.models.embedded.chat import EmbeddedChatModel

    model = EmbeddedChatModel(engine=engine)
    facts: list[Fact] = [
        {"id": "", "what": what, "action": action, "result": result, "similarity": 1, "source": ""}
        for what, action, result in (
            (f"a dropped {thing}", "hits the ground", "it makes a sound and may bounce back up"),
            (f"a {thing}", "is dropped", "it falls to the ground because gravity pulls it down"),
        )
    ]

    async def dream(expert: Expert) -> None:
        prompt = dream_prompt(
            f"What happens when you drop a {thing}?", expert, facts, own_triplets=False
        )
        await model.ainvoke(
            prompt.messages,
            max_tokens=96,
            prefill=prompt.prefill,
            response_format={"type": "json_schema", "json_schema": {"schema": prompt.schema}},
        )

    async def together() -> None:
        await asyncio.gather(*(dream(expert) for expert in EXPERTS))

    began = time.perf_counter()
    asyncio.run(together())
    return time.perf_counter() - began


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield


@contextmanager
def _without_fast_forward() -> Iterator[None]:
    from reverie.models.embedded.grammar import Grammar

    with patch.object(Grammar, "forced", return_value=[]):
        yield


@contextmanager
def _without_prefix_cache() -> Iterator[None]:
    from reverie.models.embedded.batch import PrefixCache

    with patch.object(PrefixCache, "longest", return_value=(None, 0)):
        yield


_VARIANTS = {
    "four dreams, later ones": _as_it_is,
    "the same without grammar fast-forward": _without_fast_forward,
    "the same without prefix cache": _without_prefix_cache,
}


def _plain_side(folder: Path, repeats: int) -> dict[str, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    assert isinstance(tokenizer, PreTrainedTokenizerFast)  # noqa: S101  # the packaged one is
    model = AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, dtype=torch.bfloat16, attn_implementation="sdpa"
    ).eval()
    stories = _stories()

    def generate(width: int, tokens: int) -> float:
        prompts = [_prompt(tokenizer, next(stories)) for _ in range(width)]
        longest = max(map(len, prompts))
        ids = torch.zeros(width, longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for i, prompt in enumerate(prompts):
            ids[i, longest - len(prompt) :] = torch.tensor(prompt)
            mask[i, longest - len(prompt) :] = 1
        began = time.perf_counter()
        model.generate(
            ids,
            attention_mask=mask,
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            do_sample=False,
        )
        return time.perf_counter() - began

    for width in _WIDTHS:
        generate(width, 4)
    rounds = [{width: generate(width, _TOKENS) for width in _WIDTHS} for _ in range(repeats)]
    return {"widths": {width: [r[width] for r in rounds] for width in _WIDTHS}}


if __name__ == "__main__":
    _side = {"engine": _engine_side, "plain": _plain_side}[sys.argv[1]]
    json.dump(_side(Path(sys.argv[2]), int(sys.argv[3])), sys.stdout)
