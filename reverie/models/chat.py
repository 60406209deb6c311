"""A model on any OpenAI-compatible server as a LangChain chat model."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import aclosing
from copy import deepcopy
from pathlib import Path
from typing import Any, Self, TypeVar
from weakref import finalize

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LangSmithParams, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr, field_validator

from reverie.models.chat_model import ChatModel
from reverie.models.loop_thread import LoopThread
from reverie.models.profile import ModelProfile
from reverie.models.profiles import ProfileBook
from reverie.models.structured_output import Method, structured_output
from reverie.models.tool_choice import tool_choice_of
from reverie.models.wire.call import Call
from reverie.models.wire.client import ModelClient
from reverie.models.wire.connection import Connection
from reverie.models.wire.endpoint import Endpoint, plain_address
from reverie.models.wire.exchange import Exchange
from reverie.models.wire.messages import to_wire

T = TypeVar("T")

_OF_CONNECTION = frozenset(
    {
        "address",
        "api_key",
        "headers",
        "ca_bundle",
        "proxy",
        "home",
        "window",
        "timeout",
        "idle_timeout",
        "connect_timeout",
        "max_retries",
        "max_connections",
    }
)
"""Fields by which the connection is made."""


class ServedChatModel(ChatModel):
    """Answers with a model on a server: vLLM, SGLang, llama.cpp, Ollama, LM Studio, OpenAI, or any
    other that speaks Chat Completions or Responses.

        model = ServedChatModel(address="http://127.0.0.1:8000/v1", model="qwen3")
        print(model.invoke("Why is the sky blue?").text)

    What it sends follows the model's profile, which ``reverie doctor`` writes under ``home``. A
    call takes LangChain's ``stop`` and ``temperature``, ``top_p``, ``max_tokens``, ``seed``,
    ``logprobs``, ``top_logprobs``, ``n``, ``tools``, ``tool_choice``, ``parallel_tool_calls``,
    ``response_format``, ``prefill`` (the text that the reply begins with; dropped where a schema
    is given, which the whole reply obeys), ``timeout`` (seconds for the whole call), ``model`` and
    ``extra_body``.

    Nothing is taken from the environment: no key, no proxy, no address. Usable from several
    threads and event loops; ``aclose`` closes the connections of the running loop, ``close`` those
    of the calls made without one.

    Raises ModelUnavailable, ModelRejected, ContextOverflow, OutputInvalid and ConfigError.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, populate_by_name=True)

    address: str
    """The base URL, mostly ending in ``/v1``."""
    model: str = ""
    """The model's name; empty: the first that the server lists."""
    api_key: SecretStr | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    ca_bundle: Path | None = None
    proxy: SecretStr | None = None
    home: Path | None = None
    """Where profiles are stored; None: they are neither read nor stored."""
    window: int | None = None
    """Context window in tokens; None: what the profile says."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: list[str] | None = None
    logprobs: bool = False
    streaming: bool = False
    """Whether calls without streaming stream all the same, below."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Added to every request as it is."""

    timeout: float = 600.0
    """Longest time for a whole call, its retries included, in seconds."""
    idle_timeout: float = 60.0
    """Longest silence within a stream, in seconds."""
    connect_timeout: float = 5.0
    max_retries: int = 3
    max_connections: int = 256

    _connection: Connection | None = PrivateAttr(default=None)
    _clients: dict[str, ModelClient] = PrivateAttr(default_factory=dict)
    _book: ProfileBook | None = PrivateAttr(default=None)
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)
    _loop: LoopThread = PrivateAttr(default_factory=lambda: LoopThread("reverie-served-model"))

    @field_validator("address")
    @classmethod
    def _plain(cls, address: str) -> str:
        return plain_address(address)

    def model_post_init(self, context: Any, /) -> None:
        """See to it that the loop for calls without one ends with the model."""
        super().model_post_init(context)
        finalize(self, self._loop.close)

    # -- copies and changes --------------------------------------------------------------------

    def __copy__(self) -> Self:
        """A model with connections and a thread of its own."""
        copied = super().__copy__()
        copied._begin_anew()  # noqa: SLF001  # of its own kind
        return copied

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        copied = self.__copy__()
        for name, value in self.__dict__.items():
            copied.__dict__[name] = deepcopy(value, memo)
        return copied

    def __getstate__(self) -> dict[Any, Any]:
        raise TypeError(
            "a served model cannot be pickled, for it holds keys and connections: make it anew "
            "from its address"
        )

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in _OF_CONNECTION:
            self._forget()

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()
        self._loop = LoopThread("reverie-served-model")
        self._forget()
        finalize(self, self._loop.close)

    def _forget(self) -> None:
        """Ask another server from now on, or the same one in another way."""
        self._connection = None
        self._book = None
        self._clients = {}

    # -- what it is ----------------------------------------------------------------------------

    @property
    def _llm_type(self) -> str:
        return "reverie-served"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        """What makes replies differ: the key of LangChain's cache, and part of its traces."""
        return {
            "address": self.address,
            "model": self.model,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": self.max_tokens,
            "seed": self.seed,
            "stop": self.stop,
            "logprobs": self.logprobs,
            "extra_body": self.extra_body,
        }

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        params["ls_provider"] = "reverie"
        params["ls_model_name"] = kwargs.get("model") or self.model
        if self.stop and "ls_stop" not in params:
            params["ls_stop"] = self.stop
        return params

    @property
    def reverie_profile(self) -> ModelProfile:
        """What the model is known to be able to do. The first time, this asks the server (blocks)
        unless a call has been made or ``prepare`` was awaited.
        """
        known = self._client().known
        return self._loop.run(self._client().profile()) if known is None else known.profile

    @property
    def place(self) -> str:
        return f"{self.address}#{self.reverie_profile.name}"

    @property
    def counts_exactly(self) -> bool:
        return bool(self.reverie_profile.counter)

    def count_tokens(self, messages: Sequence[BaseMessage], prefill: str = "") -> int:
        """How many prompt tokens a call with these messages costs: counted by the server where it
        can, else an upper bound, mostly about twice as much. Blocks.
        """
        return self._loop.run(self._client().count(to_wire(messages), prefill))

    async def prepare(self) -> ModelProfile:
        """Find out what is served, so that nothing later has to wait for it."""
        client = await asyncio.to_thread(self._client)
        return await client.profile()

    # -- calls ---------------------------------------------------------------------------------

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        exchange = await self._exchange(messages, stop, kwargs)
        async with aclosing(exchange.chunks()) as chunks:
            async for chunk in chunks:
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
        call = self._call(stop, kwargs)
        exchange = Exchange(self._client(call.model), messages, call)
        for chunk in self._loop.iterate(exchange.chunks()):
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await self._result(messages, stop, kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._loop.run(self._result(messages, stop, kwargs))

    def run_blocking(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the loop of the calls made without one."""
        return self._loop.run(coroutine)

    def messages_of(self, given: LanguageModelInput) -> list[BaseMessage]:
        """A prompt in any of LangChain's forms, as messages."""
        return self._convert_input(given).to_messages()

    # -- tools and forms -----------------------------------------------------------------------

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with tools it may call. ``tool_choice``: ``auto``, ``none``, ``any`` (at least
        one), True (the only one), or a tool's name.
        """
        offered = [convert_to_openai_tool(tool, strict=strict) for tool in tools]
        choice = tool_choice_of(tool_choice, offered)
        if choice is not None:
            kwargs["tool_choice"] = choice
        return super().bind(tools=offered, **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        method: Method | None = None,
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """A runnable whose output obeys ``schema``: a pydantic class gives its instance, anything
        else a dictionary.

        ``method`` is by default the best that the server can: ``json_schema``, else
        ``function_calling``, else a schema in the prompt. A reply that does not obey is shown to
        the model once, with what is wrong; then OutputInvalid is raised (with ``include_raw``,
        returned as ``parsing_error``).
        """
        return structured_output(
            self, schema, method=method, include_raw=include_raw, strict=strict, bound=kwargs
        )

    # -- lifetime ------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Close the running event loop's connections; they open again when needed."""
        if self._connection is not None:
            await self._connection.aclose()

    def close(self) -> None:
        """Close the connections of calls made without an event loop."""
        connection = self._connection
        self._loop.close(connection.aclose() if connection is not None else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- inside --------------------------------------------------------------------------------

    async def _result(
        self, messages: list[BaseMessage], stop: list[str] | None, given: dict[str, Any]
    ) -> ChatResult:
        return await (await self._exchange(messages, stop, given)).result()

    async def _exchange(
        self, messages: list[BaseMessage], stop: list[str] | None, given: dict[str, Any]
    ) -> Exchange:
        call = self._call(stop, given)
        client = self._clients.get(call.model or self.model)
        if client is None:  # what it imports would hold up the event loop
            client = await asyncio.to_thread(self._client, call.model)
        return Exchange(client, messages, call)

    def _call(self, stop: list[str] | None, given: dict[str, Any]) -> Call:
        defaults = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": self.max_tokens,
            "seed": self.seed,
            "stop": tuple(self.stop or ()),
            "logprobs": self.logprobs,
            "extra_body": self.extra_body,
        }
        return Call.read(defaults, stop, given)

    def _client(self, model: str = "") -> ModelClient:
        """The client for one of the server's models. The first call takes about a second, because
        it imports the SDK; later ones nothing.
        """
        model = model or self.model
        with self._lock:
            if self._connection is None:
                self._connection = Connection(self._endpoint())
                self._book = ProfileBook.under(self.home) if self.home is not None else None
            if model not in self._clients:
                self._clients[model] = ModelClient(
                    self._connection, model, book=self._book, window=self.window
                )
            return self._clients[model]

    def _endpoint(self) -> Endpoint:
        return Endpoint(
            address=self.address,
            key=self.api_key.get_secret_value() if self.api_key else "",
            headers={name: value.get_secret_value() for name, value in self.headers.items()},
            ca_bundle=self.ca_bundle,
            proxy=self.proxy.get_secret_value() if self.proxy else "",
            connect_seconds=self.connect_timeout,
            idle_seconds=self.idle_timeout,
            deadline_seconds=self.timeout,
            retries=self.max_retries,
            connections=self.max_connections,
        )
