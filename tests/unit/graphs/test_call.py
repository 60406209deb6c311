"""One model call inside a budget."""

from __future__ import annotations

import re

import pytest
from langchain_core.messages import HumanMessage

from reverie.errors import BudgetExceeded, ModelUnavailable
from reverie.graphs.call import SMALLEST_ANSWER, CallFailed, Reply, call_model
from reverie.graphs.records import Limits
from tests.unit.conftest import Say, ScriptedModel

MESSAGES = [HumanMessage("one two three four five six")]  # 6 words and 4 for the turn
PROMPT = 10
LONG = Say(" ".join(["word"] * 100))


def left(tokens: int = 1000, calls: int = 5, seconds: float = 30.0) -> Limits:
    return {"tokens": tokens, "calls": calls, "seconds": seconds}


async def ask(model: ScriptedModel, limits: Limits, *, most: int = 50, prefill: str = "") -> Reply:
    return await call_model(
        model, MESSAGES, left=limits, max_tokens=most, on_text=lambda _: None, prefill=prefill
    )


async def refused(model: ScriptedModel, limits: Limits) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        await ask(model, limits)
    return caught.value


async def test_a_reply_has_its_text_tokens_and_usage() -> None:
    heard: list[str] = []
    model = ScriptedModel(script=lambda _: Say("it falls", logprob=-0.5))

    reply = await call_model(
        model, MESSAGES, left=left(), max_tokens=9, on_text=heard.append, prefill="Well, "
    )

    assert reply.text == "".join(heard) == "Well, it falls"
    assert reply.tokens == (("it ", -0.5), ("falls", -0.5))
    assert reply.complete
    assert {k: v for k, v in reply.usage.items() if k != "seconds"} == {
        "tokens_in": PROMPT + 1,
        "tokens_out": 2,
        "calls": 1,
        "estimated": False,
    }
    assert reply.usage["seconds"] > 0


@pytest.mark.parametrize(("tokens", "given"), [(1000, 50), (PROMPT + 30, 30), (PROMPT + 16, 16)])
async def test_max_tokens_are_clamped_to_what_is_left(tokens: int, given: int) -> None:
    model = ScriptedModel(script=lambda _: LONG)

    reply = await ask(model, left(tokens))

    assert model.calls[0].options["max_tokens"] == given
    assert not reply.complete
    assert model.tokens == [PROMPT + given]


async def test_the_smallest_budget_is_named_and_works() -> None:
    model = ScriptedModel()

    error = (await refused(model, left(PROMPT + SMALLEST_ANSWER - 1))).error
    assert isinstance(error, BudgetExceeded)
    assert model.calls == []
    smallest = int(re.findall(r"--budget (\d+)", error.hint)[0])
    assert f"{smallest} tokens" in error.message

    assert (await ask(model, left(smallest))).text


@pytest.mark.parametrize(
    ("limits", "said"),
    [(left(seconds=0.0), "no time is left"), (left(calls=0), "no model call is left")],
)
async def test_without_time_or_calls_no_call_is_made(limits: Limits, said: str) -> None:
    model = ScriptedModel()

    failed = await refused(model, limits)

    assert isinstance(failed.error, BudgetExceeded)
    assert said in str(failed.error)
    assert failed.usage["calls"] == 0
    assert model.calls == []


@pytest.mark.parametrize("logprobs", [True, False])
async def test_running_out_of_time_charges_what_was_written(logprobs: bool) -> None:
    model = ScriptedModel(script=lambda _: Say(LONG.text, delay=0.02, logprobs=logprobs))

    failed = await refused(model, left(seconds=0.5))

    assert isinstance(failed.error, BudgetExceeded)
    assert "ran out" in failed.error.message
    assert failed.usage["estimated"]
    assert failed.usage["tokens_in"] == PROMPT
    assert 0 < failed.usage["tokens_out"] == sum(model.tokens) - PROMPT
    assert failed.usage["seconds"] == pytest.approx(0.5, abs=0.4)
    assert len(model.cancelled) == 1


@pytest.mark.parametrize(
    "error",
    [ModelUnavailable("gone"), RuntimeError("a bug"), TimeoutError("the server's own")],
)
async def test_a_call_that_fails_is_charged_for_what_it_wrote(error: Exception) -> None:
    model = ScriptedModel(script=lambda _: Say(LONG.text, error=error, after=7))

    failed = await refused(model, left())

    assert failed.error is error
    assert failed.usage["calls"] == 1
    assert failed.usage["estimated"]
    assert failed.usage["tokens_out"] == 7


@pytest.mark.parametrize("logprobs", [True, False])
async def test_a_server_that_tells_no_usage_is_not_for_free(logprobs: bool) -> None:
    say = Say("it falls down to the ground", usage=False, logprobs=logprobs)

    reply = await ask(ScriptedModel(script=lambda _: say), left(), prefill="Well, ")

    assert reply.usage["estimated"]
    assert (reply.usage["tokens_in"], reply.usage["tokens_out"]) == (PROMPT + 1, 6)


async def test_the_schema_goes_to_the_server_in_openais_form() -> None:
    model = ScriptedModel(script=lambda _: "{}")

    await call_model(
        model,
        MESSAGES,
        left=left(),
        max_tokens=20,
        on_text=lambda _: None,
        json_schema={"type": "object"},
        stop=("\n",),
        temperature=0.5,
        seed=3,
    )

    options = model.calls[0].options
    assert model.calls[0].schema == {"type": "object"}
    assert (options["stop"], options["temperature"], options["seed"]) == (["\n"], 0.5, 3)
