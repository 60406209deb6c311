"""One call to a served model: streamed or whole, held to a form where one was asked for."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from reverie.errors import OutputInvalid
from reverie.models.profile import ModelProfile
from reverie.models.structured import instruction, obtain, read_json
from reverie.models.wire.call import Call
from reverie.models.wire.chunks import chunk_of, last_chunk, message_of
from reverie.models.wire.client import ModelClient
from reverie.models.wire.messages import to_wire
from reverie.models.wire.piece import Piece, Request


class Exchange:
    """Messages out, a reply back. Raises what ``ModelClient`` raises, and OutputInvalid."""

    def __init__(self, client: ModelClient, messages: Sequence[BaseMessage], call: Call) -> None:
        self._client = client
        self._messages = messages
        self._call = call
        self._began = call.options.get("prefill", "")

    async def chunks(self) -> AsyncGenerator[ChatGenerationChunk, None]:
        """The reply as it comes; the last chunk has its usage.

        Where the server cannot be held to the form, the reply comes at once when it is whole: only
        then it can be checked and repaired.
        """
        call, profile = self._call, await self._client.profile()
        if call.checked and call.schema is not None and not _holds(profile, call):
            message = await self._obtained(call.schema)
            for chunk in _as_stream(message, self._client.take_notices()):
                yield chunk
            return
        if self._began:
            yield chunk_of(Piece(text=self._began))
        finish, last, text = "", Piece(), ""
        request = self._request(self._messages, profile)
        async with aclosing(self._client.stream(request, call.timeout)) as pieces:
            async for piece in pieces:
                finish = piece.finish or finish
                if piece.usage is not None:
                    last = piece
                    continue
                if call.schema is not None:
                    text += piece.text
                yield chunk_of(piece)
        wrong = await self._wrong(text, finish) if call.schema is not None else None
        yield last_chunk(last, finish, self._client.model, self._client.take_notices())
        if wrong is not None:
            raise wrong

    async def result(self) -> ChatResult:
        """The whole reply, or several where ``n`` asks for them."""
        messages = await self._replies()
        notices = self._client.take_notices()
        if notices:
            messages[0].response_metadata["notices"] = notices
        usage = messages[0].usage_metadata
        return ChatResult(
            generations=[ChatGeneration(message=message) for message in messages],
            llm_output={"model_name": self._client.model, "token_usage": dict(usage or {})},
        )

    async def _replies(self) -> list[AIMessage]:
        call = self._call
        if call.schema is not None and call.checked:
            return [await self._obtained(call.schema)]
        request = self._request(self._messages, await self._client.profile())
        return [self._message(p) for p in await self._client.replies(request, call.timeout)]

    async def _obtained(self, schema: Mapping[str, Any]) -> AIMessage:
        """A reply that obeys the schema; its usage is that of both, when it took two."""
        asked: list[Piece] = []
        profile = await self._client.profile()

        async def ask(messages: Sequence[BaseMessage]) -> AIMessage:
            request = self._request(messages, profile)
            asked.append((await self._client.replies(request, self._call.timeout))[0])
            return self._message(asked[-1])

        def read(reply: AIMessage) -> Any:
            return read_json(str(reply.text), schema)

        try:
            message, document = await obtain(self._messages, ask, read)
        finally:
            if asked:  # only now: the second try was to be held to the form as well
                await self._wrong(asked[0].text, asked[0].finish)
        text = str(message.text)
        if text != (bare := _bare(text, document)):
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

    def _request(self, messages: Sequence[BaseMessage], profile: ModelProfile) -> Request:
        """The request, with what the server cannot be told otherwise said in its messages."""
        wire = to_wire(messages)
        call = self._call
        form = None
        if call.schema is not None and not _holds(profile, call):
            wire = _told(wire, instruction(call.schema))
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

    async def _wrong(self, text: str, finish: str) -> OutputInvalid | None:
        """The error for a reply that does not obey although the server claims to see to it; the
        profile is corrected then.
        """
        call, profile = self._call, await self._client.profile()
        if finish == "length" or not _holds(profile, call):
            return None
        try:
            read_json(text, call.schema)
        except ValueError as error:
            kind = _kind(call)
            await self._client.correct([(kind, False, f"a reply did not obey the {kind} form")])
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
        content=str(message.text), additional_kwargs=dict(message.additional_kwargs)
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
