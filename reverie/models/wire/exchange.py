"""One call to a served model: streamed or whole, held to a form where one was asked for."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Literal

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from reverie.errors import OutputInvalid
from reverie.models.profile import ModelProfile
from reverie.models.structured import instruction, obtain, prepare_to_check, read_json
from reverie.models.wire.call import Call
from reverie.models.wire.chunks import chunk_of, last_chunk, message_of
from reverie.models.wire.client import ModelClient, Remade
from reverie.models.wire.gathered import gathered
from reverie.models.wire.messages import to_wire
from reverie.models.wire.piece import Piece, Request

_THOUGHT = "</think>"


class Exchange:
    """Messages out, a reply back. Raises what ``ModelClient`` raises, and OutputInvalid."""

    def __init__(self, client: ModelClient, messages: Sequence[BaseMessage], call: Call) -> None:
        self._client = client
        self._messages = messages
        self._call = call
        self._began = call.options.get("prefill", "")
        self._until = None if call.timeout is None else time.monotonic() + call.timeout

    async def chunks(self) -> AsyncGenerator[ChatGenerationChunk, None]:
        """The reply as it comes; the last chunk has its usage.

        Where the server cannot be held to the form, the reply comes at once when it is whole: only
        then it can be checked and repaired.
        """
        call, profile = self._call, await self._profile()
        if call.checked and call.schema is not None and not _holds(profile, call):
            message = await self._obtained(call.schema)
            for chunk in _as_stream(message, self._client.take_notices()):
                yield chunk
            return
        if self._began:
            yield chunk_of(Piece(text=self._began))
        finish, last, seen = "", Piece(), Piece()
        request = self._request(self._messages, profile)
        stream = self._client.stream(request, self._left(), self._remade(self._messages))
        async with aclosing(stream) as pieces:
            async for piece in pieces:
                finish = piece.finish or finish
                if piece.usage is not None:
                    last = piece
                    continue
                if call.schema is not None:
                    seen.text += piece.text
                    seen.refusal += piece.refusal
                    seen.tools += piece.tools
                yield chunk_of(piece)
        seen.finish = finish
        wrong = await self._wrong(seen) if call.schema is not None else None
        yield last_chunk(last, finish, self._client.model, self._client.take_notices())
        if wrong is not None:
            raise wrong

    async def result(self) -> ChatResult:
        """The whole reply, or several where ``n`` asks for them."""
        messages = await self._replies()
        notices = self._client.take_notices()
        if notices:
            messages[0].response_metadata["notices"] = notices
        spent = [message.usage_metadata for message in messages if message.usage_metadata]
        names: tuple[Literal["input_tokens", "output_tokens", "total_tokens"], ...] = (
            "input_tokens",
            "output_tokens",
            "total_tokens",
        )
        usage = {name: sum(one[name] for one in spent) for name in names}
        return ChatResult(
            generations=[ChatGeneration(message=message) for message in messages],
            llm_output={"model_name": self._client.model, "token_usage": usage},
        )

    async def _replies(self) -> list[AIMessage]:
        call = self._call
        if call.schema is not None and call.checked:
            schema, n = call.schema, call.options.get("n", 1)
            return await gathered(self._obtained(schema, place) for place in range(n))
        request = self._request(self._messages, await self._profile())
        return [self._message(p) for p in await self._sent(request, self._messages)]

    async def _obtained(self, schema: Mapping[str, Any], place: int = 0) -> AIMessage:
        """A reply that obeys the schema, or calls a tool instead; its usage is that of both, when
        it took two. ``place`` is that among several, each of which has a seed of its own.
        """
        asked: list[Piece] = []

        async def ask(messages: Sequence[BaseMessage]) -> AIMessage:
            request = replace(self._request(messages, await self._profile()), n=1)
            if request.seed is not None:
                request = replace(request, seed=request.seed + place)
            asked.append((await self._sent(request, messages))[0])
            return self._message(asked[-1])

        def read(reply: AIMessage) -> Any:
            if reply.tool_calls or reply.invalid_tool_calls:
                return None
            return read_json(str(reply.text), schema)

        who = f"{self._client.model or 'the model'} at {self._client.address}"
        try:
            message, document = await obtain(self._messages, ask, read, who=who)
        finally:
            if asked:  # only now: the second try was to be held to the form as well
                await self._wrong(asked[0])
        text = str(message.text)
        called = message.tool_calls or message.invalid_tool_calls
        if not called and text != (bare := _bare(text, document)):
            message.content = bare
        spent = [piece.usage for piece in asked if piece.usage is not None]
        message.usage_metadata = {
            "input_tokens": sum(tokens.prompt for tokens in spent),
            "output_tokens": sum(tokens.completion for tokens in spent),
            "total_tokens": sum(tokens.prompt + tokens.completion for tokens in spent),
        }
        message.response_metadata["usage_estimated"] = any(
            piece.extra.get("usage_estimated") for piece in asked
        )
        return message

    async def _profile(self) -> ModelProfile:
        return await self._client.profile(self._left())

    def _left(self) -> float | None:
        """Seconds that are left of the call, all that it asks included; None: no limit."""
        return None if self._until is None else self._until - time.monotonic()

    async def _sent(self, request: Request, messages: Sequence[BaseMessage]) -> list[Piece]:
        return await self._client.replies(request, self._left(), self._remade(messages))

    def _remade(self, messages: Sequence[BaseMessage]) -> Remade:
        """What makes a request for these messages again, by a profile that was corrected."""

        def remade(request: Request, profile: ModelProfile) -> Request:
            again = self._request(messages, profile)
            return replace(request, messages=again.messages, response_format=again.response_format)

        return remade

    def _request(self, messages: Sequence[BaseMessage], profile: ModelProfile) -> Request:
        """The request, with what the server cannot be told otherwise said in its messages."""
        wire = to_wire(messages)
        call = self._call
        form = None
        if call.schema is not None and not _holds(profile, call):
            told = instruction(call.schema, tools=bool(call.options.get("tools")))
            wire = _told(wire, told)
            if profile.json_object and not call.options.get("tools"):
                form = {"type": "json_object"}
        if self._began and not profile.prefill:
            wire += to_wire(
                [
                    AIMessage(self._began),
                    HumanMessage("Go on exactly where you stopped, without repeating anything."),
                ]
            )
        request = call.request(wire)
        return replace(request, response_format=form) if form else request

    def _message(self, piece: Piece) -> AIMessage:
        piece.text = self._began + piece.text
        return message_of(piece, self._client.model)

    async def _wrong(self, piece: Piece) -> OutputInvalid | None:
        """The error for a reply that does not obey although the server claims to see to it; the
        profile is corrected then.
        """
        call, profile = self._call, await self._profile()
        ended_early = piece.finish in ("length", "content_filter") or call.options.get("stop")
        if ended_early or piece.tools or piece.refusal or not _holds(profile, call):
            return None
        await prepare_to_check()
        try:
            read_json(piece.text, call.schema)
        except ValueError as error:
            if not profile.reasoning and _THOUGHT in piece.text:
                why = "a reply began with reasoning that no tag opened"
                await self._client.correct([("reasoning", "think_end", why)])
            else:
                kind = _kind(call)
                why = f"a reply did not obey the {kind} form"
                await self._client.correct([(kind, False, why)])
            return OutputInvalid(
                f"the reply of {self._client.model} at {self._client.address} does not obey the "
                f"schema: {error}",
                hint="ask again: from now on replies are checked and repaired before they are used",
            )
        return None


def _kind(call: Call) -> str:
    kind: str = call.options["response_format"]["type"]
    return kind


def _holds(profile: ModelProfile, call: Call) -> bool:
    """Whether the server sees to the form itself."""
    if call.options.get("tools") and not profile.schema_with_tools:
        return False
    return profile.json_schema if _kind(call) == "json_schema" else profile.json_object


def _told(wire: list[dict[str, Any]], instruction: str) -> list[dict[str, Any]]:
    """The messages with an instruction behind them; within the last one where that is the user's,
    for many chat templates insist that roles alternate.
    """
    last = wire[-1] if wire else {}
    if last.get("role") == "user" and isinstance(last.get("content"), str):
        return [*wire[:-1], {**last, "content": f"{last['content']}\n\n{instruction}"}]
    return [*wire, {"role": "user", "content": instruction}]


def _bare(text: str, document: Any) -> str:
    try:
        json.loads(text)
    except ValueError:
        return json.dumps(document, ensure_ascii=False)
    return text


def _as_stream(message: AIMessage, notices: Sequence[str]) -> list[ChatGenerationChunk]:
    """A whole reply as a stream of two chunks."""
    told = dict(message.response_metadata)
    text = AIMessageChunk(
        content=str(message.text),
        additional_kwargs=dict(message.additional_kwargs),
        tool_call_chunks=[
            tool_call_chunk(
                name=call["name"],
                args=call["args"] if isinstance(call["args"], str) else json.dumps(call["args"]),
                id=call["id"],
                index=index,
            )
            for index, call in enumerate([*message.tool_calls, *message.invalid_tool_calls])
        ],
    )
    if "logprobs" in told:
        text.response_metadata["logprobs"] = told.pop("logprobs")
    if notices:
        told["notices"] = list(notices)
    end = AIMessageChunk(
        content="",
        response_metadata=told,
        usage_metadata=message.usage_metadata,
        chunk_position="last",
    )
    return [ChatGenerationChunk(message=text), ChatGenerationChunk(message=end)]
