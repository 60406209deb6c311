"""The clients that are compared: the raw openai SDK, langchain-openai's ChatOpenAI, and ours."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from openai import AsyncOpenAI

RAW = "openai SDK"
CHAT_OPENAI = "ChatOpenAI"
PROFILE = "Reverie, probed"
CAUTIOUS = "Reverie, unprobed"
NAMES = (RAW, CHAT_OPENAI, PROFILE, CAUTIOUS)
"""The first is what the others are compared with, one call at a time. Ours is there twice: with the
profile that the doctor would write, and with what is known without it."""

MODEL = "toy"
ABILITIES = {
    "window": 4096,
    "json_schema": True,
    "json_object": True,
    "schema_with_tools": True,
    "logprobs": True,
    "top_logprobs": 20,
    "n": True,
    "seed": True,
    "stop": True,
    "prefill": True,
    "parallel_tools": True,
    "reasoning": "reasoning",
    "counter": "vllm",
}
"""Of the quirk server without quirks, as the doctor writes them."""

_SYSTEM = "You are a careful assistant. Answer in a few words."
_OPTIONS: dict[str, Any] = {"temperature": 0.0, "max_tokens": 256}


class Side(ABC):
    """One client. What it reads of a reply is what a caller needs: the text, and the usage."""

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    async def whole(self, question: str) -> None:
        """One call without streaming."""

    @abstractmethod
    async def stream(self, question: str) -> float:
        """One call with streaming, read to its end. When its first text came (perf_counter)."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close its connections."""


@asynccontextmanager
async def open_sides(
    address: str, home: Path, names: Sequence[str] = NAMES
) -> AsyncIterator[list[Side]]:
    """The clients of ``names``, for the server at ``address``. ``home`` is an empty folder."""
    async with AsyncExitStack() as stack:
        sides = [_open(name, address, home) for name in names]
        for side in sides:
            stack.push_async_callback(side.aclose)
        yield sides


def _open(name: str, address: str, home: Path) -> Side:
    if name == RAW:
        return _Raw(address)
    if name == CHAT_OPENAI:
        return _chat_openai(address)
    return _ours(name, address, home)


class _Raw(Side):
    def __init__(self, address: str) -> None:
        from openai import AsyncOpenAI

        super().__init__(RAW)
        self._client: AsyncOpenAI = AsyncOpenAI(base_url=address, api_key="none")

    async def whole(self, question: str) -> None:
        reply = await self._client.chat.completions.create(
            model=MODEL, messages=_messages(question), **_OPTIONS
        )
        _check(reply.choices[0].message.content, reply.usage)

    async def stream(self, question: str) -> float:
        first, text, usage = 0.0, "", None
        chunks = await self._client.chat.completions.create(
            model=MODEL,
            messages=_messages(question),
            stream=True,
            stream_options={"include_usage": True},
            **_OPTIONS,
        )
        async for chunk in chunks:
            said = chunk.choices[0].delta.content if chunk.choices else None
            if said:
                first = first or time.perf_counter()
                text += said
            usage = chunk.usage or usage
        _check(text, usage)
        return first

    async def aclose(self) -> None:
        await self._client.close()


class _LangChain(Side):
    def __init__(self, name: str, model: BaseChatModel, close: Any) -> None:
        super().__init__(name)
        self._model = model
        self._close = close

    async def whole(self, question: str) -> None:
        reply = await self._model.ainvoke(_prompt(question))
        _check(reply.text, reply.usage_metadata)

    async def stream(self, question: str) -> float:
        first, text, usage = 0.0, "", None
        async for chunk in self._model.astream(_prompt(question)):
            if said := chunk.text:
                first = first or time.perf_counter()
                text += said
            usage = chunk.usage_metadata or usage
        _check(text, usage)
        return first

    async def aclose(self) -> None:
        await self._close()


def _chat_openai(address: str) -> Side:
    from langchain_openai import ChatOpenAI

    # Usage is what the others ask for too; by default it does so for OpenAI's own address alone.
    model = ChatOpenAI(base_url=address, api_key="none", model=MODEL, stream_usage=True, **_OPTIONS)
    return _LangChain(CHAT_OPENAI, model, model.root_async_client.close)


def _ours(name: str, address: str, home: Path) -> Side:
    from reverie.models.chat import ServedChatModel
    from reverie.models.profile import ModelProfile
    from reverie.models.profiles import ProfileBook, StoredProfile

    home /= "probed" if name == PROFILE else "unprobed"
    if name == PROFILE:
        profile = ModelProfile.model_validate({"name": MODEL, **ABILITIES})
        ProfileBook.under(home).write(
            StoredProfile(address=address, model=MODEL, profile=profile, source="doctor")
        )
    model = ServedChatModel(address=address, model=MODEL, home=home, **_OPTIONS)
    return _LangChain(name, model, model.aclose)


def _messages(question: str) -> list[Any]:
    return [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": question}]


def _prompt(question: str) -> list[Any]:
    from langchain_core.messages import HumanMessage, SystemMessage

    return [SystemMessage(_SYSTEM), HumanMessage(question)]


def _check(text: str | None, usage: object) -> None:
    """A client that loses part of a reply must not look fast."""
    if not text or usage is None:
        raise RuntimeError(f"a reply without text or usage: {text!r}, {usage!r}")
