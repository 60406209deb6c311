"""One model call inside a budget."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from reverie.errors import BudgetExceeded, ModelRejected, ModelUnavailable
from reverie.graphs.call import SMALLEST_ANSWER, CallFailed, Reply, call_model
from reverie.graphs.call_events import CallEvents
from reverie.graphs.records import Limits
from reverie.models.backend import Backend
from reverie.models.fallback import FallbackChatModel
from reverie.models.prices import Price, Prices
from tests.unit.conftest import Call, Say, ScriptedModel

MESSAGES = [HumanMessage("one two three four five six")]  # 6 words and 4 for the turn
PROMPT = 10
SILENT = CallEvents(lambda _: None)
LONG = Say(" ".join(["word"] * 100))


def left(tokens: int = 1000, calls: int = 5, seconds: float = 30.0) -> Limits:
    return {"tokens": tokens, "calls": calls, "seconds": seconds, "money": None}


async def ask(model: ScriptedModel, limits: Limits, *, most: int = 50, prefill: str = "") -> Reply:
    return await call_model(
        model, MESSAGES, left=limits, max_tokens=most, events=SILENT, prefill=prefill
    )


async def refused(model: ScriptedModel, limits: Limits) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        await ask(model, limits)
    return caught.value


async def test_a_reply_has_its_text_tokens_and_usage() -> None:
    heard: list[dict[str, str]] = []
    model = ScriptedModel(script=lambda _: Say("it falls", logprob=-0.5))

    reply = await call_model(
        model,
        MESSAGES,
        left=left(),
        max_tokens=9,
        events=CallEvents(heard.append),
        prefill="Well, ",
    )

    assert reply.text == "".join(event["text"] for event in heard) == "Well, it falls"
    assert reply.tokens == (("it ", -0.5), ("falls", -0.5))
    assert reply.complete
    assert {k: v for k, v in reply.usage.items() if k != "seconds"} == {
        "tokens_in": PROMPT + 1,
        "tokens_out": 2,
        "calls": 1,
        "estimated": False,
        "money": 0.0,
        "backends": [
            {
                "name": "scripted",
                "calls": 1,
                "tokens_in": PROMPT + 1,
                "tokens_out": 2,
                "passed_over": [],
            }
        ],
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
        events=SILENT,
        json_schema={"type": "object"},
        stop=("\n",),
        temperature=0.5,
        seed=3,
    )

    options = model.calls[0].options
    assert model.calls[0].schema == {"type": "object"}
    assert (options["stop"], options["temperature"], options["seed"]) == (["\n"], 0.5, 3)


# -- a stream that breaks in the middle ----------------------------------------------------------

BROKEN = ModelUnavailable("the connection broke", transient=True)


def in_turn(*says: Say) -> Callable[[Call], Say]:
    """One after the other, the last one again and again."""
    left = list(says)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def shown(events: list[dict[str, Any]]) -> str:
    """What a display that follows the events shows in the end."""
    text = ""
    for event in events:
        if event["type"] == "token":
            text += event["text"]
        elif event["type"] == "taken_back":
            text = text[: len(text) - event["characters"]]
    return text


async def test_a_stream_that_breaks_in_the_middle_is_tried_once_more_and_both_are_charged() -> None:
    events: list[dict[str, Any]] = []
    model = ScriptedModel(script=in_turn(Say(LONG.text, error=BROKEN, after=7), Say("it falls")))

    reply = await call_model(
        model,
        MESSAGES,
        left=left(),
        max_tokens=50,
        events=CallEvents(events.append, 2, hidden="Well, "),
        prefill="Well, ",
    )

    assert reply.text == "Well, it falls"
    assert shown(events) == "it falls"
    [taken_back] = [event for event in events if event["type"] == "taken_back"]
    assert (taken_back["branch"], taken_back["why"]) == (2, "the connection broke")
    assert reply.usage["calls"] == 2
    assert reply.usage["tokens_in"] + reply.usage["tokens_out"] == sum(model.tokens)
    assert reply.usage["estimated"]
    [backend] = reply.usage["backends"]
    assert (backend["calls"], backend["tokens_out"]) == (1, 2)


async def test_it_is_never_tried_a_third_time() -> None:
    model = ScriptedModel(script=lambda _: Say(LONG.text, error=BROKEN, after=7))

    failed = await refused(model, left())

    assert failed.error is BROKEN
    assert failed.usage["calls"] == len(model.calls) == 2
    assert failed.usage["tokens_out"] == 14


@pytest.mark.parametrize(
    ("say", "limits"),
    [
        (Say(LONG.text, error=ModelUnavailable("gone for good"), after=7), left()),
        (Say(LONG.text, error=ModelRejected("refused"), after=7), left()),
        (Say(LONG.text, error=BROKEN, after=0), left()),  # whoever serves it has tried it again
        (Say(LONG.text, error=BROKEN, after=7), left(calls=1)),
        (Say(LONG.text, error=BROKEN, after=7), left(2 * PROMPT + 7 + SMALLEST_ANSWER - 1)),
    ],
    ids=["not transient", "refused", "nothing had come", "no call left", "too few tokens"],
)
async def test_when_it_is_not_tried_again(say: Say, limits: Limits) -> None:
    model = ScriptedModel(script=lambda _: say)

    failed = await refused(model, limits)

    assert failed.error is say.error
    assert len(model.calls) == 1


async def test_the_second_attempt_has_what_the_first_left() -> None:
    model = ScriptedModel(script=in_turn(Say(LONG.text, error=BROKEN, after=7), LONG))

    await ask(model, left(2 * PROMPT + 7 + 20))

    assert [call.options["max_tokens"] for call in model.calls] == [50 - 13, 20]
    assert sum(model.tokens) == 2 * PROMPT + 7 + 20


async def test_where_nothing_can_be_counted_any_more_it_is_estimated_too_high() -> None:
    class Gone(ScriptedModel):
        def count_tokens(self, messages: Any, prefill: str = "") -> int:
            if self.calls and prefill:
                raise BROKEN
            return super().count_tokens(messages, prefill)

    say = Say("it falls down", error=ModelUnavailable("gone"), after=3, logprobs=False)
    failed = await refused(Gone(script=lambda _: say), left())

    assert failed.error is say.error
    assert failed.usage["tokens_out"] == 7  # half of the characters


# -- time ----------------------------------------------------------------------------------------


class Obedient(ScriptedModel):
    """Gives up at its ``timeout``, as a client of a server does."""

    async def _astream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kw: Any
    ) -> Any:
        until = asyncio.get_running_loop().time() + kw["timeout"]
        stream = super()._astream(messages, stop, **kw)
        while True:
            try:
                async with asyncio.timeout_at(until):
                    chunk = await anext(stream)
            except StopAsyncIteration:
                return
            except TimeoutError:
                error = "http://a/v1 did not finish within 0.5 s"
                raise ModelUnavailable(error, transient=True) from None
            yield chunk


@pytest.mark.parametrize(
    ("seconds", "error", "said"),
    [(0.05, BudgetExceeded, "no time is left"), (1.1, ModelUnavailable, "did not count")],
)
async def test_a_prompt_not_counted_in_time_is_laid_to_whoever_is_to_blame(
    seconds: float, error: type[Exception], said: str
) -> None:
    class Slow(ScriptedModel):
        def count_tokens(self, messages: Any, prefill: str = "") -> int:
            time.sleep(1.2)
            return super().count_tokens(messages, prefill)

    failed = await refused(Slow(script=lambda _: Say("never")), left(seconds=seconds))

    assert isinstance(failed.error, error)
    assert said in str(failed.error)


async def test_a_server_that_sends_nothing_in_time_is_named() -> None:
    model = Obedient(script=lambda _: Say("never", delay=30))

    failed = await refused(model, left(seconds=0.5))

    assert isinstance(failed.error, ModelUnavailable)
    assert "http://a/v1" in failed.error.message
    assert 0.4 < model.calls[0].options["timeout"] <= 0.45
    assert failed.usage["calls"] == 1


async def test_running_out_of_time_amid_tokens_is_the_budgets_end_and_not_tried_again() -> None:
    model = Obedient(script=lambda _: Say(LONG.text, delay=0.02))

    failed = await refused(model, left(seconds=0.5))

    assert isinstance(failed.error, BudgetExceeded)
    assert len(model.calls) == 1


# -- several backends ----------------------------------------------------------------------------


async def test_the_usage_says_who_answered_and_who_was_passed_over() -> None:
    events: list[dict[str, Any]] = []
    gone = ScriptedModel(script=lambda _: Say(error=ModelUnavailable("refused")))
    model = FallbackChatModel(
        backends=(Backend("http://a/v1", lambda: gone), Backend("smollm2", ScriptedModel))
    )

    reply = await call_model(
        model, MESSAGES, left=left(), max_tokens=9, events=CallEvents(events.append)
    )

    assert reply.usage["backends"] == [
        {
            "name": "http://a/v1",
            "calls": 0,
            "tokens_in": 0,
            "tokens_out": 0,
            "passed_over": ["refused"],
        },
        {
            "name": "smollm2",
            "calls": 1,
            "tokens_in": PROMPT,
            "tokens_out": 5,
            "passed_over": [],
        },
    ]
    notices = [event["text"] for event in events if event["type"] == "notice"]
    assert notices == ["http://a/v1 was passed over: refused"]


async def test_what_the_model_wants_said_is_said_once() -> None:
    events: list[dict[str, Any]] = []
    told = {"notices": ["never probed", "never probed", "cut"]}
    model = ScriptedModel(script=lambda _: Say("it falls", told=told))

    reply = await call_model(
        model, MESSAGES, left=left(), max_tokens=9, events=CallEvents(events.append)
    )

    assert reply.notices == ("never probed", "cut")
    assert [e["text"] for e in events if e["type"] == "notice"] == ["never probed", "cut"]


# -- money ---------------------------------------------------------------------------------

PRICES = Prices({"a": Price(2.0, 8.0), "b": Price(1.0, 20.0)})


async def test_a_call_costs_what_the_backend_that_answered_takes() -> None:
    told = {"backend": {"name": "b", "passed_over": []}}
    model = ScriptedModel(script=lambda _: Say("it falls", told=told))

    reply = await call_model(
        model, MESSAGES, left=left(), max_tokens=9, events=SILENT, prices=PRICES
    )

    assert reply.usage["money"] == pytest.approx((PROMPT * 1.0 + 2 * 20.0) / 1e6)


async def test_one_that_nobody_finished_costs_what_the_dearest_would_take() -> None:
    model = ScriptedModel(script=lambda _: Say("a b c", error=ModelRejected("no"), after=2))

    with pytest.raises(CallFailed) as caught:
        await call_model(model, MESSAGES, left=left(), max_tokens=9, events=SILENT, prices=PRICES)

    usage = caught.value.usage
    assert usage["estimated"]
    expected = (usage["tokens_in"] * 2.0 + usage["tokens_out"] * 20.0) / 1e6
    assert usage["money"] == pytest.approx(expected)
    assert expected > 0


async def test_the_smallest_budget_of_money_is_named_and_works() -> None:
    model = ScriptedModel()
    poor: Limits = {**left(), "money": 1e-6}

    with pytest.raises(CallFailed) as caught:
        await call_model(model, MESSAGES, left=poor, max_tokens=9, events=SILENT, prices=PRICES)
    error = caught.value.error
    assert isinstance(error, BudgetExceeded)
    assert model.calls == []

    enough = float(re.findall(r"budget.money ([\d.e-]+)", error.hint)[0])
    assert enough == pytest.approx(20.0 * (PROMPT + SMALLEST_ANSWER) / 1e6, rel=1e-3)
    rich: Limits = {**left(), "money": enough}
    reply = await call_model(model, MESSAGES, left=rich, max_tokens=9, events=SILENT, prices=PRICES)
    assert reply.text
