"""The engine: its thread, its queue, and what callers on an event loop see of them."""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reverie.errors import ContextOverflow, ModelRejected, ModelUnavailable
from reverie.models.embedded.engine import Engine, EngineOptions
from reverie.models.embedded.request import Finished, GenerationRequest, Sampling, TokenOut

pytest.importorskip("torch", reason="the local extra is not installed")

LoadEngine = Callable[..., Engine]

PROMPT = tuple(range(10, 30))


def request(*prompt: int, **sampling: Any) -> GenerationRequest:
    return GenerationRequest(prompt or PROMPT, Sampling(**{"max_tokens": 10, **sampling}))


async def answer(engine: Engine, asked: GenerationRequest) -> tuple[list[TokenOut], Finished]:
    *tokens, end = [item async for item in engine.generate(asked)]
    assert isinstance(end, Finished)
    return tokens, end


def ids(tokens: list[TokenOut]) -> list[int]:
    return [token.id for token in tokens]


async def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)


def slow_down(monkeypatch: pytest.MonkeyPatch, engine: Engine, seconds: float = 0.02) -> None:
    """Makes every step take a while, so that a test can act in the middle of a reply."""
    batch = engine._worker._batch
    step = batch.step

    def slowly() -> None:
        time.sleep(seconds)
        step()

    monkeypatch.setattr(batch, "step", slowly)


def watch_admitted(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> list[int]:
    """The ``max_tokens`` of every request that gets into the batch from now on."""
    admitted: list[int] = []
    admit = engine._worker._batch.admit

    def watched(rows: list[Any]) -> None:
        admitted.extend(row.request.sampling.max_tokens for row in rows)
        admit(rows)

    monkeypatch.setattr(engine._worker._batch, "admit", watched)
    return admitted


# -- replies ---------------------------------------------------------------------------------


async def test_tokens_then_one_end(engine: Engine) -> None:
    tokens, end = await answer(engine, request(max_tokens=10))

    assert end == Finished("length", end.text, 20, 0, 10)
    assert len(tokens) == 10


async def test_three_batches_worth_of_requests_all_finish(load_engine: LoadEngine) -> None:
    engine = await asyncio.to_thread(load_engine, max_batch=3)
    prompts = [tuple(range(10 + i, 30 + 2 * i)) for i in range(9)]
    alone = [ids((await answer(engine, request(*p)))[0]) for p in prompts]

    together = await asyncio.gather(*(answer(engine, request(*p)) for p in prompts))

    assert [ids(tokens) for tokens, _ in together] == alone


async def test_no_more_than_max_batch_run_at_once(
    load_engine: LoadEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await asyncio.to_thread(load_engine, max_batch=2)
    batch = engine._worker._batch
    step, widths = batch.step, []
    monkeypatch.setattr(batch, "step", lambda: (widths.append(len(batch.rows)), step()))

    await asyncio.gather(*(answer(engine, request()) for _ in range(6)))

    assert max(widths) == 2


@pytest.mark.parametrize("top_p", [1.0, 0.8])
async def test_a_seed_repeats_alone_and_in_company(engine: Engine, top_p: float) -> None:
    drawing = {"temperature": 1.0, "top_p": top_p, "max_tokens": 25}

    (alone, _) = await answer(engine, request(seed=3, **drawing))
    company = await asyncio.gather(
        *(answer(engine, request(seed=seed, **drawing)) for seed in (1, 3, 2))
    )

    assert ids(company[1][0]) == ids(alone)
    assert len({tuple(ids(tokens)) for tokens, _ in company}) == 3


async def test_a_stop_string_ends_the_reply_before_it(engine: Engine) -> None:
    tokens, _ = await answer(engine, request(max_tokens=40))
    whole = "".join(token.text for token in tokens)
    stop = whole[12:15]

    tokens, end = await answer(engine, request(max_tokens=40, stop=(stop,)))

    assert end.reason == "stop"
    assert "".join(token.text for token in tokens) + end.text == whole.split(stop)[0]


async def test_the_thread_serves_callers_without_a_loop(engine: Engine) -> None:
    said: list[object] = []
    over = threading.Event()

    def sink(item: object) -> None:
        said.append(item)
        if not isinstance(item, TokenOut):
            over.set()

    await asyncio.to_thread(engine.submit, request(), sink)
    assert await asyncio.to_thread(over.wait, 5)

    assert len(said) == 11


# -- requests that cannot be run -------------------------------------------------------------


@pytest.mark.parametrize("size", [512, 513, 5000])
async def test_a_prompt_that_leaves_no_room_is_refused(engine: Engine, size: int) -> None:
    with pytest.raises(ContextOverflow, match=f"{size} tokens .* only 512"):
        await answer(engine, request(*[9] * size))


async def test_a_prompt_that_leaves_room_for_one_token_is_run(engine: Engine) -> None:
    _, end = await answer(engine, request(*[9] * 511, max_tokens=1))

    assert (end.prompt_tokens, end.completion_tokens) == (511, 1)


async def test_an_empty_prompt_is_refused(engine: Engine) -> None:
    with pytest.raises(ModelRejected, match="empty"):
        await answer(engine, GenerationRequest(()))


async def test_a_bad_schema_fails_its_own_request_only(engine: Engine) -> None:
    bad = GenerationRequest(PROMPT, json_schema={"type": "nonsense"})

    refused, good = await asyncio.gather(
        answer(engine, bad), answer(engine, request()), return_exceptions=True
    )

    assert isinstance(refused, ModelRejected)
    assert not isinstance(good, BaseException)


# -- leaving ---------------------------------------------------------------------------------


async def test_a_cancelled_task_frees_its_row_and_others_go_on(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _ = await answer(engine, request(max_tokens=60))
    slow_down(monkeypatch, engine)
    leaving = asyncio.create_task(answer(engine, request(*range(40, 60), max_tokens=400)))
    staying = asyncio.create_task(answer(engine, request(max_tokens=60)))
    rows = engine._worker._batch.rows
    await until(lambda: len(rows) == 2)

    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving

    await until(lambda: len(rows) == 1, seconds=0.5)
    assert ids((await staying)[0]) == ids(expected)


async def test_leaving_the_loop_cancels(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    slow_down(monkeypatch, engine)
    items = engine.generate(request(max_tokens=400))

    async for _ in items:
        break
    await items.aclose()

    await until(lambda: not engine._worker._batch.rows, seconds=0.5)


async def test_a_task_cancelled_while_it_is_queued_is_never_run(
    load_engine: LoadEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await asyncio.to_thread(load_engine, max_batch=1)
    slow_down(monkeypatch, engine)
    admitted = watch_admitted(monkeypatch, engine)
    first = asyncio.create_task(answer(engine, request(max_tokens=20)))
    await until(lambda: bool(engine._worker._batch.rows))
    queued = asyncio.create_task(answer(engine, request(max_tokens=400)))
    await asyncio.sleep(0.05)

    queued.cancel()
    await asyncio.wait([queued])
    await first
    await answer(engine, request(max_tokens=2))

    assert admitted == [20, 2]


async def test_one_who_cancels_in_the_queue_is_told(
    load_engine: LoadEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await asyncio.to_thread(load_engine, max_batch=1)
    slow_down(monkeypatch, engine)
    first = asyncio.create_task(answer(engine, request(max_tokens=20)))
    await until(lambda: bool(engine._worker._batch.rows))
    said: list[object] = []

    ticket = await asyncio.to_thread(engine.submit, request(), said.append)
    ticket.cancel()
    await first
    await until(lambda: bool(said))

    assert said == [Finished("cancelled", "", 20, 0, 0)]


async def test_a_task_cancelled_while_its_grammar_compiles_is_never_run(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiling, go_on = threading.Event(), threading.Event()
    admitted = watch_admitted(monkeypatch, engine)
    compile_ = engine._grammars.compile

    def slowly(*args: Any) -> Any:
        compiling.set()
        go_on.wait(5)
        return compile_(*args)

    monkeypatch.setattr(engine._grammars, "compile", slowly)
    schema = {"type": "string"}
    asked = GenerationRequest(PROMPT, Sampling(max_tokens=400), json_schema=schema)
    task = asyncio.create_task(answer(engine, asked))
    await until(compiling.is_set)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    await asyncio.to_thread(engine._grammars.compile, schema)  # by now the other one is queued
    await answer(engine, request(max_tokens=2))

    assert admitted == [2]


def test_a_caller_that_is_gone_ends_its_own_request_only(engine: Engine) -> None:
    def gone(item: object) -> None:
        raise RuntimeError("Event loop is closed")

    engine.submit(request(max_tokens=400), gone)

    _, end = asyncio.run(answer(engine, request(max_tokens=3)))
    assert end.completion_tokens == 3


# -- closing and failing ---------------------------------------------------------------------


async def test_closing_fails_what_is_running_and_what_waits(
    load_engine: LoadEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await asyncio.to_thread(load_engine, max_batch=1)
    slow_down(monkeypatch, engine)
    tasks = [asyncio.create_task(answer(engine, request(max_tokens=400))) for _ in range(3)]
    await until(lambda: bool(engine._worker._batch.rows))

    await asyncio.to_thread(engine.close)
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(result) for result in results] == [ModelUnavailable] * 3
    assert engine.closed


async def test_after_close_requests_are_refused(engine: Engine) -> None:
    await asyncio.to_thread(engine.close)
    await asyncio.to_thread(engine.close)  # again is no mistake

    with pytest.raises(ModelUnavailable, match="closed"):
        await answer(engine, request())


async def test_a_request_that_loses_the_race_against_close_is_refused(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def close_meanwhile(*args: Any) -> None:
        engine.close()

    monkeypatch.setattr(engine._grammars, "compile", close_meanwhile)
    asked = GenerationRequest(PROMPT, json_schema={"type": "boolean"})

    with pytest.raises(ModelUnavailable, match="closed"):
        await asyncio.wait_for(answer(engine, asked), timeout=5)


def test_an_engine_nobody_refers_to_ends_its_thread(tiny_folder: Path) -> None:
    engine = Engine.load(tiny_folder, EngineOptions(dtype="float32"))
    asyncio.run(answer(engine, request()))
    thread, gone = engine._worker._thread, weakref.ref(engine)

    del engine
    gc.collect()

    assert gone() is None
    thread.join(timeout=5)
    assert not thread.is_alive()


@pytest.mark.parametrize("broken", ["admit", "step"])
async def test_a_failed_step_fails_what_was_running_and_the_next_request_works(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    expected, _ = await answer(engine, request())
    batch = engine._worker._batch
    forward, calls = batch._forward, []

    def fail_once(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == {"admit": 1, "step": 4}[broken]:
            raise MemoryError("no memory left")
        return forward(*args, **kwargs)

    monkeypatch.setattr(batch, "_forward", fail_once)
    with pytest.raises(ModelUnavailable, match="no memory left") as caught:
        await answer(engine, request())

    assert caught.value.transient
    assert isinstance(caught.value.__cause__, MemoryError)
    assert ids((await answer(engine, request()))[0]) == ids(expected)


# -- loading ---------------------------------------------------------------------------------


def copied(folder: Path, target: Path, **config: Any) -> Path:
    """A copy of a model's folder with another config.json."""
    shutil.copytree(folder, target)
    path = target / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
    return target


@pytest.mark.parametrize(("asked", "window"), [(None, 512), (100, 100), (9999, 512)])
def test_the_window_is_the_smaller_of_models_and_options(
    load_engine: LoadEngine, asked: int | None, window: int
) -> None:
    assert load_engine(window=asked).window == window


def test_a_sliding_window_limits_the_window(tiny_folder: Path, tmp_path: Path) -> None:
    folder = copied(tiny_folder, tmp_path / "sliding", sliding_window=128)
    engine = Engine.load(folder)

    assert engine.window == 128
    engine.close()


def test_parameters_are_counted(engine: Engine, tiny_model: Any) -> None:
    assert engine.parameters == sum(p.numel() for p in tiny_model.parameters())


def test_layers_the_engine_cannot_run_are_refused(tiny_folder: Path, tmp_path: Path) -> None:
    kinds = ["full_attention", "sliding_attention"]
    folder = copied(tiny_folder, tmp_path / "hybrid", layer_types=kinds)

    with pytest.raises(ModelRejected, match="sliding_attention") as caught:
        Engine.load(folder)
    assert "vLLM" in caught.value.hint


@pytest.mark.parametrize("damage", ["nothing", "no weights", "cut weights", "no tokenizer"])
def test_a_folder_that_cannot_be_loaded_is_an_error_that_names_it(
    tiny_folder: Path, tmp_path: Path, damage: str
) -> None:
    folder = tmp_path / "model"
    if damage == "nothing":
        folder.mkdir()
    else:
        shutil.copytree(tiny_folder, folder)
    if damage == "no weights":
        (folder / "model.safetensors").unlink()
    if damage == "cut weights":
        whole = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    if damage == "no tokenizer":
        for path in folder.glob("tokenizer*"):
            path.unlink()

    with pytest.raises((ModelUnavailable, ModelRejected), match="model"):
        Engine.load(folder)
