"""A run that is left at any moment: nobody holds it, it goes on, and each call is charged once."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from reverie.agents.reasoner import Reasoner
from reverie.agents.result import Result
from reverie.graphs.budget import total_tokens
from reverie.settings import Settings
from tests.unit.agents.conftest import Asked, made
from tests.unit.conftest import QUESTION, Call, Say, dream_text

EVERY = 9
"""Which events it is left at: each ninth, from another first one on."""


def unsure(call: Call) -> Say:
    """A model whose answers are never sure enough, so that all is tried."""
    text = dream_text(call) if call.expert and call.schema else f"{len(call.messages)} or more."
    return Say(text, logprob=-3.0)


def ready(settings: Settings) -> Asked:
    asked = made(settings)
    asked.model.script = unsure
    return asked


async def leave(asked: Asked, run_id: str, events: int, *, cancel: bool) -> tuple[str, bool]:
    """Begin, or go on with, a run, and leave it at its event number ``events``: by closing the
    stream, or by cancelling the task that reads it. Returns its id, and whether it ended before.
    """
    reasoner: Reasoner = asked.reasoner
    items = reasoner.astream_resume(run_id) if run_id else reasoner.astream(QUESTION, seed=1)
    ended = False
    reached = asyncio.Event()

    async def read() -> None:
        nonlocal run_id, ended
        seen = 0
        async with aclosing(items):
            async for item in items:
                if isinstance(item, Result):
                    run_id, ended = item.run_id, True
                    continue
                run_id = item["run_id"] if item["type"] == "run_started" else run_id
                seen += item["type"] != "token"
                if seen == events:
                    reached.set()
                    if not cancel:
                        return

    reading = asyncio.create_task(read())
    waiting = asyncio.create_task(reached.wait())
    await asyncio.wait({reading, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if cancel:
        reading.cancel()
    await asyncio.gather(reading, waiting, return_exceptions=True)
    return run_id, ended


@pytest.mark.parametrize("cancel", [False, True], ids=["closed", "cancelled"])
@pytest.mark.parametrize("first", [1, 4])
async def test_wherever_it_is_left_it_goes_on_and_charges_each_call_once(
    settings: Settings, first: int, *, cancel: bool
) -> None:
    run_id, calls, times, ended, events = "", 0, 0, False, first
    while not ended:
        asked = ready(settings)
        try:
            run_id, ended = await leave(asked, run_id, events, cancel=cancel)
            [run] = await asked.reasoner.aruns()
            calls += len(asked.model.calls)
            assert run.worker == ""
            assert ended or (run.status, run.resumable) == ("interrupted", True)
        finally:
            await asked.reasoner.aclose()
        events, times = EVERY, times + 1
        assert times < 40, "it makes progress, however often it is left"

    asked = ready(settings)
    try:
        result = await asked.reasoner.aresume(run_id)
        begun = await (await asked.reasoner._runs()).store.journal.calls(run_id)
    finally:
        await asked.reasoner.aclose()
    spent, limits = result.cost["spent"], result.cost["limits"]
    assert spent["calls"] == len(begun) == sum(a["usage"]["calls"] for a in result.attempts)
    # Those of a fan-out that were cancelled between being written down and being sent count, too.
    assert calls <= len(begun) <= calls + 4 * times
    assert spent["calls"] <= limits["calls"]
    assert total_tokens(spent) <= limits["tokens"]
