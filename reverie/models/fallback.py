"""An ordered list of models as one: when the first does not answer, the next one does."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableBinding, RunnableConfig, RunnableLambda
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, Field, SkipValidation

from reverie.errors import ModelRejected
from reverie.models.backend import Backend, PassedOver, Told, Turn
from reverie.models.chat_model import ChatModel
from reverie.models.passing_on import Clock, PassedOn, afirst_chunks, first_chunks
from reverie.models.profile import ModelProfile

T = TypeVar("T")

_TOOL_OPTIONS = ("tools", "tool_choice", "strict", "parallel_tool_calls")


class FallbackChatModel(ChatModel):
    """Asks its backends in order, until one answers.

    The next backend is asked when one raises ModelUnavailable or ModelRejected (a wrong key, an
    unknown model, a prompt that its window does not hold), or when its circuit is open. Wrong use,
    cancellation and output that breaks a schema are nobody else's business and are raised. A stream
    moves on only before its first piece; if it breaks later, the error says how much had passed.

    With ``timeout``, a backend that others stand behind has half of the time that is left to send
    its first piece.

    The last chunk and every reply say in ``response_metadata["backend"]`` who answered and who was
    passed over, and why. When none is left, one error lists them all.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    backends: SkipValidation[tuple[Backend, ...]]
    absent: tuple[PassedOver, ...] = Field(default=())
    """Backends that were asked for and cannot be asked; every reply says so."""

    @property
    def _llm_type(self) -> str:
        return "reverie-fallback"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"backends": [backend.name for backend in self.backends]}

    # -- the backend that would be asked now -----------------------------------------------

    @property
    def reverie_profile(self) -> ModelProfile:
        """That of the backend that would be asked now, once ``prepare`` was awaited; until then it
        may be that of another, or block.
        """
        return self._known().reverie_profile

    @property
    def counts_exactly(self) -> bool:
        return self._known().counts_exactly

    def count_tokens(self, messages: Sequence[BaseMessage], prefill: str = "") -> int:
        return self._current().count_tokens(messages, prefill)

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        return self.count_tokens(messages)

    async def prepare(self) -> ModelProfile:
        """Load the backend that would be asked now, or the first after it that can be."""
        turn = Turn(self.backends, self.absent)
        ready = next((b for b in self.backends if b.circuit.admits), None)
        if ready is not None and ready.prepared and ready.loaded is not None:
            return ready.loaded.reverie_profile
        for backend, admission in turn:
            try:
                profile = await (await backend.amodel()).prepare()
            except BaseException as error:  # noqa: BLE001  # raised again unless the next may try
                turn.missed(backend, admission, error)
                continue
            admission.withdrawn()  # who says what it is has not answered yet
            backend.prepared = True
            return profile
        raise turn.error()

    def _known(self) -> ChatModel:
        """The backend that would be asked now, without loading one if any is loaded."""
        loaded = [backend for backend in self.backends if backend.loaded is not None]
        if not loaded:
            return self._current()
        return next((b for b in loaded if b.circuit.admits), loaded[0]).model()

    def _current(self) -> ChatModel:
        """The backend that would be asked now, loaded."""
        first = next((backend for backend in self.backends if backend.circuit.admits), None)
        if first is not None and first.loaded is not None:
            return first.loaded
        turn = Turn(self.backends, self.absent)
        for backend, admission in turn:
            try:
                model = backend.model()
            except BaseException as error:  # noqa: BLE001  # raised again unless the next may try
                turn.missed(backend, admission, error)
                continue
            admission.withdrawn()
            return model
        for backend in self.backends:  # all are left alone for now; what they are has not changed
            if backend.loaded is not None:
                return backend.loaded
        raise turn.error()

    # -- calls -----------------------------------------------------------------------------

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        turn = Turn(self.backends, self.absent, clock := Clock.of(kwargs))
        prefill = kwargs.get("prefill") or ""
        for backend, admission in turn:
            passed = PassedOn(turn.told(backend), prefill)
            try:
                model = await backend.amodel()
                options = clock.options(_options(model, kwargs))
                patience = clock.patience(self._others(backend))
                async with aclosing(model._astream(messages, stop=stop, **options)) as stream:  # type: ignore[type-var]  # noqa: SLF001  # an async generator, as in every model here
                    for chunk in await afirst_chunks(stream, prefill, backend, patience):
                        if run_manager:
                            await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                        yield passed.noted(chunk)
                    async for chunk in stream:
                        if run_manager:
                            await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                        yield passed.noted(chunk)
            except BaseException as error:  # noqa: BLE001  # raised again unless the next may try
                turn.missed(backend, admission, error, passed.characters)
                continue
            admission.succeeded()
            if not passed.ended:
                yield passed.end()
            return
        raise turn.error()

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        turn = Turn(self.backends, self.absent, clock := Clock.of(kwargs))
        prefill = kwargs.get("prefill") or ""
        for backend, admission in turn:
            passed = PassedOn(turn.told(backend), prefill)
            try:
                model = backend.model()
                options = clock.options(_options(model, kwargs))
                stream = model._stream(messages, stop=stop, **options)  # noqa: SLF001  # of its own kind
                for chunk in itertools.chain(first_chunks(stream, prefill), stream):
                    if run_manager:
                        run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield passed.noted(chunk)
            except BaseException as error:  # noqa: BLE001  # raised again unless the next may try
                turn.missed(backend, admission, error, passed.characters)
                continue
            admission.succeeded()
            if not passed.ended:
                yield passed.end()
            return
        raise turn.error()

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        clock = Clock.of(kwargs)

        async def ask(model: ChatModel) -> ChatResult:
            options = clock.options(_options(model, kwargs))
            return await model._agenerate(messages, stop=stop, **options)  # noqa: SLF001  # of its own kind

        return _signed(*await self._aanswer(ask, clock))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        clock = Clock.of(kwargs)

        def ask(model: ChatModel) -> ChatResult:
            options = clock.options(_options(model, kwargs))
            return model._generate(messages, stop=stop, **options)  # noqa: SLF001  # of its own kind

        return _signed(*self._answer(ask, clock))

    # -- tools and forms -------------------------------------------------------------------

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with tools it may call. Each backend is given them in its own form; one that
        takes none is passed over.
        """
        if tool_choice is not None:
            kwargs["tool_choice"] = tool_choice
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """A runnable whose output obeys ``schema``, each backend in its own way."""

        def structured(model: ChatModel) -> Runnable[LanguageModelInput, Any]:
            return model.with_structured_output(schema, include_raw=include_raw, **kwargs)

        async def answer(given: LanguageModelInput, config: RunnableConfig) -> Any:
            result, told = await self._aanswer(lambda m: structured(m).ainvoke(given, config))
            return _signed_raw(result, told) if include_raw else result

        def answer_blocking(given: LanguageModelInput, config: RunnableConfig) -> Any:
            result, told = self._answer(lambda m: structured(m).invoke(given, config))
            return _signed_raw(result, told) if include_raw else result

        return RunnableLambda(answer_blocking, afunc=answer, name="structured_output")

    # -- lifetime --------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Close the connections of every backend that was loaded."""
        for backend in self.backends:
            if backend.loaded is not None:
                await backend.loaded.aclose()

    def close(self) -> None:
        """The same, for calls made without an event loop."""
        for backend in self.backends:
            if backend.loaded is not None:
                backend.loaded.close()

    # -- inside ----------------------------------------------------------------------------

    async def _aanswer(
        self, ask: Callable[[ChatModel], Awaitable[T]], clock: Clock | None = None
    ) -> tuple[T, Told]:
        turn = Turn(self.backends, self.absent, clock)
        for backend, admission in turn:
            try:
                result = await ask(await backend.amodel())
            except BaseException as error:  # noqa: BLE001  # raised again unless the next may try
                turn.missed(backend, admission, error)
                continue
            admission.succeeded()
            return result, turn.told(backend)
        raise turn.error()

    def _answer(self, ask: Callable[[ChatModel], T], clock: Clock | None = None) -> tuple[T, Told]:
        turn = Turn(self.backends, self.absent, clock)
        for backend, admission in turn:
            try:
                result = ask(backend.model())
            except BaseException as error:  # noqa: BLE001  # raised again unless the next may try
                turn.missed(backend, admission, error)
                continue
            admission.succeeded()
            return result, turn.told(backend)
        raise turn.error()

    def _others(self, backend: Backend) -> bool:
        """Whether a backend behind this one could be asked."""
        behind = self.backends[self.backends.index(backend) + 1 :]
        return any(other.circuit.admits for other in behind)


def _options(model: ChatModel, given: dict[str, Any]) -> dict[str, Any]:
    """A call's options with the tools in the model's own form."""
    if "tools" not in given:
        return given
    options = {key: value for key, value in given.items() if key not in _TOOL_OPTIONS}
    offered = {key: given[key] for key in _TOOL_OPTIONS if given.get(key) is not None}
    try:
        bound = model.bind_tools(offered.pop("tools"), **offered)
    except NotImplementedError:
        raise ModelRejected(
            f"the model {model.reverie_profile.name} takes no tools",
            hint="use a model that takes tools",
        ) from None
    if not isinstance(bound, RunnableBinding):
        raise TypeError(f"{type(model).__name__}.bind_tools returns no binding of the model")
    return {**options, **bound.kwargs}


def _signed(result: ChatResult, told: Told) -> ChatResult:
    for generation in result.generations:
        generation.message.response_metadata["backend"] = told
    return result


def _signed_raw(result: Any, told: Told) -> Any:
    if isinstance(result, dict) and isinstance(result.get("raw"), AIMessage):
        result["raw"].response_metadata["backend"] = told
    return result
