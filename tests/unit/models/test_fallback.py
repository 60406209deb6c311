"""Backends asked in turn: who answers, who is passed over, and what the reply says of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import pytest
from langchain_core.language_models.chat_models import agenerate_from_stream, generate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableLambda
from pydantic import BaseModel, ConfigDict, Field

from reverie.errors import (
    BudgetExceeded,
    ConfigError,
    ContextOverflow,
    ModelRejected,
    ModelUnavailable,
    OutputInvalid,
    ReverieError,
)
from reverie.models.backend import Backend
from reverie.models.chat_model import ChatModel
from reverie.models.circuit import CircuitBreaker
from reverie.models.fallback import FallbackChatModel
from reverie.models.profile import ModelProfile

REFUSED = ModelUnavailable("the connection was refused", hint="start it", transient=True)
Part = str | BaseException | float | AIMessageChunk
"""Text to say, an error to raise, seconds to wait, or a whole chunk."""


class Speaker(ChatModel):
    """Says its parts, one chunk each, then ends."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    name: str = "a"
    parts: Sequence[Part] = ("it ", "falls")
    signs_last: bool = True
    takes_tools: bool = True
    exact: bool = True
    calls: list[dict[str, Any]] = Field(default_factory=list)
    closed: list[str] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "speaker"

    @property
    def reverie_profile(self) -> ModelProfile:
        return ModelProfile(name=self.name, window=len(self.name) * 100)

    @property
    def counts_exactly(self) -> bool:
        return self.exact

    def count_tokens(self, messages: Sequence[BaseMessage], prefill: str = "") -> int:
        return 7 * len(self.name)

    async def _astream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        self.calls.append({**kwargs, "stop": stop})
        try:
            for chunk in self._chunks():
                if isinstance(chunk, float):
                    await asyncio.sleep(chunk)
                else:
                    yield chunk
        finally:
            self.closed.append("stream")

    def _stream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        self.calls.append({**kwargs, "stop": stop})
        for chunk in self._chunks():
            assert not isinstance(chunk, float)
            yield chunk

    async def _agenerate(self, messages: Any, stop: Any = None, *_: Any, **kw: Any) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages, stop, **kw))

    def _generate(self, messages: Any, stop: Any = None, *_: Any, **kw: Any) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, **kw))

    def _chunks(self) -> Iterator[ChatGenerationChunk | float]:
        yield ChatGenerationChunk(message=AIMessageChunk(content=""))  # as servers begin
        for part in self.parts:
            if isinstance(part, BaseException):
                raise part
            if isinstance(part, float):
                yield part
            elif isinstance(part, AIMessageChunk):
                yield ChatGenerationChunk(message=part)
            else:
                yield ChatGenerationChunk(message=AIMessageChunk(content=part))
        if self.signs_last:
            usage: Any = {"input_tokens": 7, "output_tokens": 2, "total_tokens": 9}
            yield ChatGenerationChunk(
                message=AIMessageChunk(content="", usage_metadata=usage, chunk_position="last")
            )

    def bind_tools(self, tools: Any, *, tool_choice: Any = None, **kwargs: Any) -> Any:
        if not self.takes_tools:
            raise NotImplementedError
        shaped = {"tools": [f"{self.name} {tool['function']['name']}" for tool in tools]}
        return self.bind(**shaped, choice=f"{self.name} {tool_choice}", **kwargs)

    def with_structured_output(
        self, schema: Any, *, include_raw: bool = False, **kwargs: Any
    ) -> Any:
        def read(message: AIMessage) -> Any:
            value = {"said": message.text, "by": self.name, **kwargs}
            return (
                {"raw": message, "parsed": value, "parsing_error": None} if include_raw else value
            )

        return self | RunnableLambda(read)

    async def aclose(self) -> None:
        self.closed.append("model")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Chain:
    """Backends a, bb, ccc, ... and the model made of them."""

    def __init__(self, *speakers: Sequence[Part] | Speaker | BaseException) -> None:
        self.clock = Clock()
        self.loads: list[str] = []
        self.speakers: list[Speaker] = []
        backends = []
        for number, given in enumerate(speakers):
            name = "abcdef"[number] * (number + 1)
            speaker = given if isinstance(given, Speaker) else Speaker()
            if not isinstance(given, Speaker | BaseException):
                speaker.parts = given
            speaker.name = name
            self.speakers.append(speaker)
            failure = given if isinstance(given, BaseException) else None
            backends.append(Backend(name, self._loader(speaker, failure), self._circuit()))
        self.model = FallbackChatModel(backends=tuple(backends))

    def _circuit(self) -> CircuitBreaker:
        return CircuitBreaker(failures=3, cooldown_seconds=30, clock=self.clock, jitter=lambda: 0.0)

    def _loader(self, speaker: Speaker, failure: BaseException | None) -> Callable[[], ChatModel]:
        def load() -> ChatModel:
            self.loads.append(speaker.name)
            if failure is not None:
                raise failure
            return speaker

        return load

    def asked(self) -> list[int]:
        return [len(speaker.calls) for speaker in self.speakers]

    def state(self, number: int = 0) -> str:
        return self.model.backends[number].circuit.state


MESSAGES = [HumanMessage("why?")]
WAYS = ("ainvoke", "astream", "invoke", "stream")


async def ask(model: Any, way: str = "ainvoke", **options: Any) -> AIMessage:
    """One reply, by any of LangChain's ways to ask."""
    if way == "ainvoke":
        return await model.ainvoke(MESSAGES, **options)  # type: ignore[no-any-return]
    if way == "invoke":
        return await asyncio.to_thread(model.invoke, MESSAGES, **options)
    if way == "stream":
        chunks = await asyncio.to_thread(lambda: list(model.stream(MESSAGES, **options)))
    else:
        chunks = [chunk async for chunk in model.astream(MESSAGES, **options)]
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole  # type: ignore[no-any-return]


def told(message: BaseMessage) -> tuple[str, list[tuple[str, str]]]:
    backend = message.response_metadata["backend"]
    return backend["name"], [(p["name"], p["why"]) for p in backend["passed_over"]]


# -- who answers -------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
async def test_the_first_answers_and_the_others_are_not_even_loaded(way: str) -> None:
    chain = Chain(["it ", "falls"], ["never"])

    reply = await ask(chain.model, way)

    assert reply.text == "it falls"
    assert told(reply) == ("a", [])
    assert reply.usage_metadata is not None
    assert chain.loads == ["a"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "error",
    [
        REFUSED,
        ModelUnavailable("no such file"),
        ModelRejected("a wrong key", status=401),
        ModelRejected("a bad request", status=400),
        ModelRejected("no key is set"),
        ContextOverflow("too long", status=400),
    ],
    ids=lambda error: error.message,
)
async def test_the_next_answers_and_the_reply_says_why(way: str, error: ReverieError) -> None:
    chain = Chain([error], error, ["it falls"])

    reply = await ask(chain.model, way)

    assert reply.text == "it falls"
    assert told(reply) == ("ccc", [("a", error.message), ("bb", error.message)])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "error",
    [
        ConfigError("a wrong option"),
        BudgetExceeded("no tokens"),
        OutputInvalid("no JSON"),
        ZeroDivisionError("a bug"),
        TimeoutError("somebody's"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_is_nobody_elses_business_is_raised(way: str, error: Exception) -> None:
    chain = Chain([error], ["never"])

    with pytest.raises(type(error), match=str(error)):
        await ask(chain.model, way)

    assert chain.asked() == [1, 0]
    assert chain.state() == "closed"


async def test_the_reason_does_not_repeat_the_name() -> None:
    chain = Chain([ModelUnavailable("no server answers at a: refused")], ["it falls"])

    for _ in range(4):  # the last time, its circuit is open
        reply = await ask(chain.model)
        assert told(reply) == ("bb", [("a", "no server answers: refused")])


async def test_wrong_use_of_a_later_backend_says_why_it_was_asked() -> None:
    chain = Chain([REFUSED], ConfigError("torch is not installed", hint="install it"))

    with pytest.raises(ConfigError) as caught:
        await ask(chain.model)

    assert caught.value.message == (
        "torch is not installed (it was asked because a was passed over: the connection was "
        "refused)"
    )
    assert caught.value.hint == "install it"


@pytest.mark.parametrize("way", WAYS)
async def test_when_all_fail_one_error_lists_them(way: str) -> None:
    chain = Chain([REFUSED], [ModelRejected("a wrong key", hint="set it", status=401)])

    with pytest.raises(ModelUnavailable) as caught:
        await ask(chain.model, way)

    assert caught.value.message == (
        "no backend answered: a was passed over: the connection was refused; bb was passed over: "
        "a wrong key"
    )
    assert caught.value.hint == "start it; set it"
    assert caught.value.transient


@pytest.mark.parametrize(
    ("errors", "kind"),
    [
        ((ContextOverflow("x"), ContextOverflow("y")), ContextOverflow),
        ((ContextOverflow("x"), ModelRejected("y")), ModelRejected),
        ((ModelRejected("x"), ModelUnavailable("y")), ModelUnavailable),
    ],
)
async def test_the_error_of_all_is_of_the_kind_that_all_were(
    errors: tuple[ReverieError, ...], kind: type[ReverieError]
) -> None:
    with pytest.raises(kind) as caught:
        await ask(Chain(*([error] for error in errors)).model)

    assert type(caught.value) is kind
    assert getattr(caught.value, "transient", False) is False


# -- streams -----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["astream", "stream"])
async def test_a_stream_that_breaks_later_is_an_error_that_says_how_much_had_arrived(
    way: str,
) -> None:
    chain = Chain(["it ", "falls", REFUSED], ["never"])

    with pytest.raises(ModelUnavailable, match="refused, after 8 characters of") as caught:
        await ask(chain.model, way)

    assert caught.value.transient
    assert caught.value.hint == "start it"
    assert chain.asked() == [1, 0]


@pytest.mark.parametrize("way", ["astream", "stream"])
async def test_a_prefill_that_is_repeated_is_no_piece_of_the_reply(way: str) -> None:
    chain = Chain(["Well, ", REFUSED], ["Well", ", it falls"], ["never"])

    reply = await ask(chain.model, way, prefill="Well, ")

    assert reply.text == "Well, it falls"
    assert told(reply) == ("bb", [("a", "the connection was refused")])
    broken = Chain(["Well, ", "it ", REFUSED], ["never"])
    with pytest.raises(ModelUnavailable, match="after 3 characters of the reply"):
        await ask(broken.model, way, prefill="Well, ")


@pytest.mark.parametrize("way", ["astream", "stream"])
async def test_tool_calls_and_reasoning_begin_a_reply_too(way: str) -> None:
    thinking = AIMessageChunk(content="", additional_kwargs={"reasoning_content": "hm"})
    call = AIMessageChunk(
        content="", tool_call_chunks=[{"name": "f", "args": "", "id": "1", "index": 0}]
    )
    for message in (thinking, call):
        chain = Chain([message, REFUSED], ["never"])
        with pytest.raises(ModelUnavailable, match="of the reply had arrived"):
            await ask(chain.model, way)


@pytest.mark.parametrize("way", WAYS)
async def test_a_backend_that_signs_no_last_chunk_is_signed_all_the_same(way: str) -> None:
    reply = await ask(Chain(Speaker(signs_last=False)).model, way)

    assert told(reply) == ("a", [])


async def test_only_one_chunk_signs() -> None:
    chunks = [chunk async for chunk in Chain(["a", "b", "c"]).model.astream(MESSAGES)]

    assert ["backend" in chunk.response_metadata for chunk in chunks[:-1]] == [False] * 4
    assert chunks[-1].chunk_position == "last"  # type: ignore[attr-defined]


async def test_leaving_a_stream_closes_the_backends() -> None:
    chain = Chain(["it ", 60.0, "falls"])

    stream = chain.model.astream(MESSAGES)
    while not (await anext(stream)).text:
        pass
    await stream.aclose()  # type: ignore[attr-defined]

    assert chain.speakers[0].closed == ["stream"]
    assert chain.state() == "closed"


async def test_a_silent_backend_leaves_half_of_the_time_to_the_next() -> None:
    chain = Chain([60.0], ["it falls"])

    reply = await ask(chain.model, "astream", timeout=0.6)

    assert told(reply) == ("bb", [("a", "a sent nothing within 0.3 s")])
    assert chain.speakers[0].closed == ["stream"]
    assert 0 < chain.speakers[1].calls[0]["timeout"] < 0.31


async def test_a_slow_backend_that_has_begun_is_waited_for() -> None:
    chain = Chain(["it ", 0.4, "falls"], ["never"])

    assert (await ask(chain.model, "astream", timeout=0.6)).text == "it falls"


async def test_the_last_backend_has_all_the_time_that_is_left() -> None:
    chain = Chain([0.4, "it falls"])

    assert (await ask(chain.model, "astream", timeout=0.6)).text == "it falls"


async def test_nobody_is_asked_when_no_time_is_left() -> None:
    chain = Chain(["never"])

    with pytest.raises(ModelUnavailable, match="no time was left"):
        await ask(chain.model, "astream", timeout=0.0)
    assert chain.asked() == [0]
    assert chain.state() == "closed"


# -- circuits ----------------------------------------------------------------------------------


async def test_a_backend_that_keeps_failing_is_left_out_and_tried_again_by_one_call() -> None:
    chain = Chain([REFUSED], ["it falls"])
    for _ in range(3):
        await ask(chain.model)
    assert chain.state() == "open"

    reply = await ask(chain.model)
    assert chain.asked()[0] == 3
    assert told(reply) == ("bb", [("a", "the connection was refused")])

    chain.clock.now += 30
    chain.speakers[0].parts = ["back ", 0.05, "again"]
    replies = await asyncio.gather(*(ask(chain.model, "astream") for _ in range(5)))

    assert sorted(reply.text for reply in replies) == ["back again", *["it falls"] * 4]
    assert chain.asked()[0] == 4
    assert chain.state() == "closed"


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (REFUSED, "open"),
        (ModelRejected("key", status=401), "open"),
        (ModelRejected("paid", status=402), "open"),
        (ModelRejected("forbidden", status=403), "open"),
        (ModelRejected("no such model", status=404), "open"),
        (ModelRejected("a bad request", status=400), "closed"),
        (ModelRejected("a bad request", status=422), "closed"),
        (ContextOverflow("too long", status=400), "closed"),
        (OutputInvalid("no JSON"), "closed"),
    ],
    ids=lambda value: str(getattr(value, "message", value)),
)
async def test_which_errors_open_the_circuit(error: ReverieError, state: str) -> None:
    chain = Chain([error], ["it falls"])

    for _ in range(3):
        with pytest.raises(OutputInvalid) if isinstance(error, OutputInvalid) else nullcontext():
            await ask(chain.model)

    assert chain.state() == state


async def test_a_cancelled_probe_gives_its_place_back() -> None:
    chain = Chain([REFUSED], ["it falls"])
    for _ in range(3):
        await ask(chain.model)
    chain.clock.now += 30
    chain.speakers[0].parts = [60.0]

    task = asyncio.create_task(ask(chain.model, "astream"))
    while chain.asked()[0] < 4:  # noqa: ASYNC110  # the double has no event to wait for
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert chain.state() == "half open"
    chain.speakers[0].parts = ["back"]
    assert (await ask(chain.model)).text == "back"


async def test_with_every_circuit_open_it_fails_at_once_and_says_why() -> None:
    chain = Chain([REFUSED])
    for _ in range(3):
        with pytest.raises(ModelUnavailable):
            await ask(chain.model)

    with pytest.raises(ModelUnavailable, match="a was passed over: the connection") as caught:
        await ask(chain.model)

    assert chain.asked() == [3]
    assert "cooldown" in caught.value.hint
    assert chain.model.reverie_profile.name == "a"


# -- loading and what the model is -------------------------------------------------------------


def test_threads_load_a_backend_once() -> None:
    chain = Chain(["it falls"])
    threads = [threading.Thread(target=chain.model.invoke, args=(MESSAGES,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert chain.loads == ["a"]
    assert chain.asked() == [8]


async def test_it_is_what_the_backend_is_that_would_be_asked_now() -> None:
    chain = Chain(Speaker(parts=[REFUSED], exact=False), ["it falls"])
    assert (await chain.model.prepare()).name == "a"
    assert chain.loads == ["a"]
    assert chain.model.reverie_profile.window == 100
    assert chain.model.count_tokens(MESSAGES) == 7
    assert not chain.model.counts_exactly

    for _ in range(3):
        await ask(chain.model)

    assert (await chain.model.prepare()).name == "bb"
    assert chain.model.reverie_profile.window == 200
    assert chain.model.count_tokens(MESSAGES) == 14
    assert chain.model.counts_exactly


async def test_preparing_moves_on_to_a_backend_that_can_be_loaded() -> None:
    chain = Chain(REFUSED, ["it falls"])

    assert (await chain.model.prepare()).name == "bb"
    assert chain.model.reverie_profile.name == "bb"
    assert told(await ask(chain.model)) == ("bb", [("a", "the connection was refused")])


async def test_preparing_fails_when_nothing_can_be_loaded() -> None:
    with pytest.raises(ModelUnavailable, match="no backend answered: a was"):
        await Chain(REFUSED).model.prepare()


async def test_closing_closes_what_was_loaded() -> None:
    chain = Chain(["it falls"], ["never"])
    await ask(chain.model)

    await chain.model.aclose()

    assert [speaker.closed for speaker in chain.speakers] == [["stream", "model"], []]


async def test_a_backend_that_cannot_be_asked_is_named_in_every_reply() -> None:
    chain = Chain(["it falls"])
    model = FallbackChatModel(
        backends=chain.model.backends, absent=({"name": "openai:x", "why": "no key is set"},)
    )

    for _ in range(2):
        assert told(await ask(model)) == ("a", [("openai:x", "no key is set")])


# -- options, tools and forms ------------------------------------------------------------------


async def test_options_reach_the_backend_that_answers() -> None:
    chain = Chain([REFUSED], ["it falls"])

    await ask(chain.model, "astream", stop=["x"], seed=3, prefill="Well, ")

    for speaker in chain.speakers:
        assert speaker.calls == [{"stop": ["x"], "seed": 3, "prefill": "Well, "}]


def look_up(word: str) -> str:
    """Look a word up."""
    return word


@pytest.mark.parametrize("way", WAYS)
async def test_each_backend_gets_tools_in_its_own_form(way: str) -> None:
    chain = Chain([REFUSED], ["it falls"])

    await ask(chain.model.bind_tools([look_up], tool_choice="any", strict=True), way, seed=1)

    for speaker, name in zip(chain.speakers, ("a", "bb"), strict=True):
        [call] = speaker.calls
        assert call["tools"] == [f"{name} look_up"]
        assert (call["choice"], call["strict"], call["seed"]) == (f"{name} any", True, 1)


async def test_a_backend_that_takes_no_tools_is_passed_over() -> None:
    chain = Chain(Speaker(takes_tools=False), ["it falls"])

    reply = await ask(chain.model.bind_tools([look_up]))

    assert told(reply) == ("bb", [("a", "the model a takes no tools")])


class Fall(BaseModel):
    said: str


async def test_structured_output_is_each_backends_own() -> None:
    chain = Chain([REFUSED], ["it falls"])

    structured = chain.model.with_structured_output(Fall, method="json_mode")

    expected = {"said": "it falls", "by": "bb", "method": "json_mode"}
    assert await structured.ainvoke(MESSAGES) == expected
    assert await asyncio.to_thread(structured.invoke, MESSAGES) == expected


async def test_structured_output_with_its_raw_reply_says_who_answered() -> None:
    chain = Chain([REFUSED], ["it falls"])
    structured = chain.model.with_structured_output(Fall, include_raw=True)

    for result in (
        await structured.ainvoke(MESSAGES),
        await asyncio.to_thread(structured.invoke, MESSAGES),
    ):
        assert told(result["raw"]) == ("bb", [("a", "the connection was refused")])
