"""The engine with the packaged model."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from reverie.models.embedded.checkpoint import prepare
from reverie.models.embedded.engine import Engine, EngineOptions
from reverie.models.embedded.request import Finished, GenerationRequest, Sampling, TokenOut

pytest.importorskip("torch", reason="the local extra is not installed")
pytestmark = pytest.mark.live

QUESTIONS = [
    "What happens when you drop a ball?",
    "Why does ice float on water, and what would change if it did not?",
    "Name three colours.",
    "What is the capital of France?",
]
SCHEMA = {
    "type": "object",
    "properties": {
        "triplets": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    name: {"type": "string", "maxLength": 40}
                    for name in ("what", "action", "result")
                },
                "required": ["what", "action", "result"],
                "additionalProperties": False,
            },
            "minItems": 1,
            "maxItems": 2,
        },
        "answer": {"type": "string", "maxLength": 80},
    },
    "required": ["triplets", "answer"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def folder(model_cache: Path) -> Path:
    return prepare(model_cache)


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[Engine]:
    engine = Engine.load(folder)
    yield engine
    engine.close()


def ask(engine: Engine, question: str, schema: Any = None, **sampling: Any) -> GenerationRequest:
    turns = [{"role": "user", "content": question}]
    text = engine.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    ids = tuple(engine.tokenizer.encode(text, add_special_tokens=False))
    return GenerationRequest(ids, Sampling(**{"max_tokens": 48, **sampling}), schema)


async def answer(engine: Engine, request: GenerationRequest) -> tuple[list[int], str, Finished]:
    ids, text = [], ""
    async for item in engine.generate(request):
        text += item.text
        if isinstance(item, Finished):
            return ids, text, item
        ids.append(item.id)
    pytest.fail("no end")


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(100):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not happen in a second")


async def test_it_answers(engine: Engine) -> None:
    _, text, end = await answer(engine, ask(engine, QUESTIONS[3]))

    assert "Paris" in text
    assert end.reason == "stop"


async def test_in_float32_a_batch_gives_what_plain_generate_gives(folder: Path) -> None:
    import torch
    from transformers import LlamaForCausalLM

    engine = await asyncio.to_thread(Engine.load, folder, EngineOptions(dtype="float32"))
    requests = [ask(engine, question) for question in QUESTIONS]
    together = await asyncio.gather(*(answer(engine, request) for request in requests))
    again = await answer(engine, requests[1])
    engine.close()

    assert again[2].cached_tokens == len(requests[1].prompt_ids) - 1
    assert again[0] == together[1][0]
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    for request, (ids, _, _) in zip(requests, together, strict=True):
        prompt = torch.tensor([request.prompt_ids])
        plain = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=48, do_sample=False
        )[0, prompt.shape[1] :].tolist()
        assert ids == [token for token in plain if token != engine.tokenizer.eos_token_id]


@pytest.mark.parametrize("temperature", [0.0, 0.8])
async def test_replies_obey_the_schema(engine: Engine, temperature: float) -> None:
    requests = [
        ask(engine, q, SCHEMA, max_tokens=300, temperature=temperature, seed=i)
        for i, q in enumerate(QUESTIONS)
    ]

    for _, text, end in await asyncio.gather(*(answer(engine, r) for r in requests)):
        assert end.reason == "stop"
        jsonschema.validate(json.loads(text), SCHEMA)


async def test_tokens_arrive_while_the_reply_grows(engine: Engine) -> None:
    items = engine.generate(ask(engine, QUESTIONS[1], max_tokens=32))

    arrivals = [time.monotonic() async for item in items if isinstance(item, TokenOut)]

    assert len(arrivals) == 32
    first_half, second_half = arrivals[15] - arrivals[0], arrivals[31] - arrivals[16]
    assert first_half > second_half / 5  # not all at the end


async def test_the_event_loop_stays_free(engine: Engine) -> None:
    work = asyncio.gather(
        *(answer(engine, ask(engine, q, SCHEMA, max_tokens=120)) for q in QUESTIONS)
    )
    worst, turns = 0.0, 0
    while not work.done():
        began = time.monotonic()
        await asyncio.sleep(0.005)
        worst, turns = max(worst, time.monotonic() - began - 0.005), turns + 1
    await work

    assert turns > 20
    assert worst < 0.25


async def test_four_at_once_cost_far_less_than_four(engine: Engine) -> None:
    requests = [ask(engine, q, max_tokens=32) for q in QUESTIONS]
    for request in requests:  # prompts are in the prefix cache from here on
        await answer(engine, request)

    began = time.monotonic()
    for request in requests:
        await answer(engine, request)
    one_by_one = time.monotonic() - began
    began = time.monotonic()
    await asyncio.gather(*(answer(engine, request) for request in requests))
    together = time.monotonic() - began

    # The benchmark has the exact numbers (`make bench`); this is far from them on purpose.
    assert together < one_by_one * 0.8


async def test_a_cancelled_request_leaves_at_once(engine: Engine) -> None:
    rows = engine._worker._batch.rows
    task = asyncio.create_task(answer(engine, ask(engine, QUESTIONS[1], max_tokens=2000)))
    await until(lambda: len(rows) == 1)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await until(lambda: not rows)
