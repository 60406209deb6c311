"""The embedded engine as a LangChain chat model."""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.language_models.chat_models import agenerate_from_stream, generate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableLambda, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema
from pydantic import BaseModel, ConfigDict, SkipValidation, ValidationError

from reverie.errors import ConfigError, ContextOverflow, ModelRejected, OutputInvalid
from reverie.models.chat_model import ChatModel
from reverie.models.embedded.engine import Engine
from reverie.models.embedded.request import Finished, GenerationRequest, Sampling, TokenOut
from reverie.models.profile import ModelProfile

_ROLES = {"human": "user", "ai": "assistant", "system": "system"}

# A prompt cannot have fewer tokens than this share of its characters in any tokenizer met in
# practice: what is far too long is refused before a megabyte is tokenised.
_MIN_TOKENS_PER_CHARACTER = 1 / 40


class EmbeddedChatModel(ChatModel):
    """Answers with the model of an ``Engine``, in this process.

    Beside LangChain's own ``stop``, a call takes ``temperature``, ``top_p``, ``max_tokens``,
    ``seed``, ``logprobs``, ``top_logprobs``, ``response_format`` (OpenAI's
    ``{"type": "json_schema", "json_schema": {"schema": ...}}``) and ``prefill``, the text that the
    reply has to begin with. ``timeout`` (seconds) is taken and does nothing: nobody else computes
    the reply. Token log-probabilities come in ``response_metadata["logprobs"]``.

    Raises ContextOverflow when the messages do not fit, ModelRejected for content or schemas that
    the model cannot take, ConfigError for options it does not know.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    engine: SkipValidation[Engine]
    model_name: str = "smollm2"
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 256
    seed: int | None = None

    @property
    def _llm_type(self) -> str:
        return "reverie-embedded"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model_name, "temperature": self.temperature, "seed": self.seed}

    @property
    def reverie_profile(self) -> ModelProfile:
        return ModelProfile(
            name=self.model_name,
            window=self.engine.window,
            parameters=self.engine.parameters,
            json_schema=True,
            schema_patterns=True,
            tools="none",
            logprobs=True,
            top_logprobs=20,
            usage="always",
            seed=True,
            stop=True,
            prefill=True,
            schema_prefill=True,
        )

    def count_tokens(self, messages: Sequence[BaseMessage], prefill: str = "") -> int:
        """How many prompt tokens a call with these messages costs."""
        return len(self._prompt_ids(messages, prefill))

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        return self.count_tokens(messages)

    def get_token_ids(self, text: str) -> list[int]:
        ids: list[int] = self.engine.tokenizer.encode(text, add_special_tokens=False)
        return ids

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        call = _Call.read(self, stop, kwargs)
        request = await asyncio.to_thread(self._request, messages, call)
        if call.prefill:
            chunk = _text(call.prefill)
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk
        async with contextlib.aclosing(self.engine.generate(request)) as items:
            async for item in items:
                chunk = self._chunk(item, call)
                if run_manager:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        call = _Call.read(self, stop, kwargs)
        arrived: queue.SimpleQueue[TokenOut | Finished | Exception] = queue.SimpleQueue()
        ticket = self.engine.submit(self._request(messages, call), arrived.put)
        try:
            if call.prefill:
                chunk = _text(call.prefill)
                if run_manager:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk
            while True:
                item = arrived.get()
                if isinstance(item, Exception):
                    raise item
                chunk = self._chunk(item, call)
                if run_manager:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk
                if isinstance(item, Finished):
                    return
        finally:
            ticket.cancel()

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages, stop, run_manager, **kwargs))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, run_manager, **kwargs))

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        method: str | None = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """A runnable whose output obeys ``schema``: a pydantic class gives its instance, anything
        else a dictionary. The grammar allows nothing invalid, whatever ``method`` and ``strict``
        say; a reply cut off by ``max_tokens`` raises OutputInvalid.
        """
        json_schema = convert_to_json_schema(schema)
        bound = self.bind(
            response_format={"type": "json_schema", "json_schema": {"schema": json_schema}},
            **kwargs,
        )
        as_model = schema if isinstance(schema, type) and issubclass(schema, BaseModel) else None
        parse = RunnableLambda(lambda message: _parse(message, as_model))
        if not include_raw:
            return bound | parse
        safe = RunnablePassthrough.assign(
            parsed=RunnableLambda(lambda out: out["raw"]) | parse,
            parsing_error=lambda _: None,
        ).with_fallbacks(
            [RunnablePassthrough.assign(parsed=lambda _: None)], exception_key="parsing_error"
        )
        return RunnableMap(raw=bound) | safe

    # -- requests and replies --------------------------------------------------------------

    def _request(self, messages: Sequence[BaseMessage], call: _Call) -> GenerationRequest:
        ids = self._prompt_ids(messages, call.prefill)
        room = self.engine.window - len(ids)
        if room <= 0:
            raise _overflow(len(ids), self.engine.window)
        sampling = Sampling(
            max_tokens=min(call.max_tokens, room),
            temperature=call.temperature,
            top_p=call.top_p,
            seed=call.seed,
            stop=call.stop,
            top_logprobs=call.top_logprobs,
        )
        return GenerationRequest(ids, sampling, call.json_schema, call.prefill)

    def _prompt_ids(self, messages: Sequence[BaseMessage], prefill: str) -> tuple[int, ...]:
        tokenizer = self.engine.tokenizer
        characters = sum(len(m.text) for m in messages)
        if characters * _MIN_TOKENS_PER_CHARACTER > self.engine.window:
            raise _overflow(int(characters * _MIN_TOKENS_PER_CHARACTER), self.engine.window)
        special = [t.content for t in tokenizer.added_tokens_decoder.values() if t.special]
        turns = [{"role": _role(m), "content": _plain(_content(m), special)} for m in messages]
        try:
            text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        except Exception as error:
            # A template is a program of the model's maker, and raises what it likes.
            raise ModelRejected(
                f"the chat template of the model {self.model_name} refuses these messages: {error}",
                hint="some models take no system message, or insist on alternating turns",
            ) from error
        # The template has written every special token that belongs there.
        ids = tokenizer.encode(text, add_special_tokens=False)
        if prefill:
            ids += tokenizer.encode(_plain(prefill, special), add_special_tokens=False)
        return tuple(ids)

    def _chunk(self, item: TokenOut | Finished, call: _Call) -> ChatGenerationChunk:
        if isinstance(item, TokenOut):
            metadata: dict[str, Any] = {}
            if call.logprobs:
                metadata["logprobs"] = {
                    "content": [
                        {
                            "token": item.token,
                            "logprob": item.logprob,
                            "top_logprobs": [
                                {"token": token, "logprob": value} for token, value in item.top
                            ],
                        }
                    ]
                }
            return ChatGenerationChunk(
                message=AIMessageChunk(content=item.text, response_metadata=metadata)
            )
        return ChatGenerationChunk(
            message=AIMessageChunk(
                content=item.text,
                response_metadata={
                    "finish_reason": item.reason,
                    "model_name": self.model_name,
                    "usage_estimated": False,
                },
                usage_metadata={
                    "input_tokens": item.prompt_tokens,
                    "output_tokens": item.completion_tokens,
                    "total_tokens": item.prompt_tokens + item.completion_tokens,
                    "input_token_details": {"cache_read": item.cached_tokens},
                },
                chunk_position="last",
            )
        )


class _Call(BaseModel):
    """The options of one call, after the model's own defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_tokens: int
    temperature: float
    top_p: float
    seed: int | None
    stop: tuple[str, ...] = ()
    logprobs: bool = False
    top_logprobs: int = 0
    prefill: str = ""
    timeout: float | None = None
    json_schema: dict[str, Any] | None = None

    @classmethod
    def read(
        cls, model: EmbeddedChatModel, stop: Sequence[str] | None, given: dict[str, Any]
    ) -> _Call:
        options = {k: v for k, v in given.items() if not k.startswith("ls_")}  # LangSmith's own
        try:
            return cls(
                **{
                    "max_tokens": model.max_tokens,
                    "temperature": model.temperature,
                    "top_p": model.top_p,
                    "seed": model.seed,
                    "stop": (stop,) if isinstance(stop, str) else tuple(stop or ()),
                    "json_schema": _schema(options.pop("response_format", None)),
                    **options,
                }
            )
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            known = sorted({*cls.model_fields, "response_format"} - {"json_schema"})
            raise ConfigError(
                f"the embedded model does not take {name}={first.get('input')!r}: {first['msg']}",
                hint=f"known options: {', '.join(known)}",
            ) from error


def _schema(response_format: Any) -> dict[str, Any] | None:
    if response_format is None or response_format == {"type": "text"}:
        return None
    try:
        if response_format["type"] == "json_object":
            return {"type": "object"}
        schema: dict[str, Any] = response_format["json_schema"]["schema"]
    except (KeyError, TypeError) as error:
        raise ConfigError(
            f"response_format {response_format!r} is not of OpenAI's form",
            hint='give {"type": "json_schema", "json_schema": {"schema": {...}}}',
        ) from error
    return schema


def _role(message: BaseMessage) -> str:
    try:
        return _ROLES[message.type]
    except KeyError:
        raise ModelRejected(
            f"the embedded model takes no messages of type {message.type!r}",
            hint="use system, human and AI messages",
        ) from None


def _content(message: BaseMessage) -> str:
    if isinstance(message.content, list):
        for block in message.content:
            if isinstance(block, dict) and block.get("type") != "text":
                raise ModelRejected(
                    f"the embedded model takes text only, not {block.get('type')!r} content"
                )
    return message.text


def _plain(text: str, special: Sequence[str]) -> str:
    """The text with the model's control tokens broken up (a question that contains ``<|im_end|>``
    must stay a question) and without lone surrogates, which are no text to a tokenizer.
    """
    text = text.encode("utf-8", "replace").decode("utf-8")
    for token in special:
        if token in text:
            text = text.replace(token, f"{token[:1]} {token[1:]}")
    return text


def _overflow(tokens: int, window: int) -> ContextOverflow:
    return ContextOverflow(
        f"the prompt has at least {tokens} tokens and the model's context window only {window}",
        hint="ask a shorter question, or use a model with a larger window",
    )


def _text(text: str) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=AIMessageChunk(content=text))


def _parse(message: AIMessage, as_model: type[BaseModel] | None) -> Any:
    try:
        value = json.loads(message.text)
        return as_model.model_validate(value) if as_model else value
    except ValueError as error:  # pydantic's ValidationError is one
        reason = message.response_metadata.get("finish_reason")
        cut = " (the reply was cut off by max_tokens)" if reason == "length" else ""
        raise OutputInvalid(
            f"the model's reply does not obey the schema{cut}: {error}",
            hint="raise max_tokens" if cut else "",
        ) from error
