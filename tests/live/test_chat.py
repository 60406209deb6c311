"""The chat model with the packaged model."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from pydantic import BaseModel, Field

from reverie.errors import ContextOverflow
from reverie.models.embedded.chat import EmbeddedChatModel
from reverie.models.load import load_chat_model
from reverie.settings import load_settings

pytest.importorskip("torch", reason="the local extra is not installed")
pytestmark = pytest.mark.live


class Capital(BaseModel):
    """A city and the continent it lies on."""

    city: str = Field(max_length=30)
    continent: Literal["Africa", "America", "Asia", "Europe", "Oceania"]


@pytest.fixture(scope="module")
def chat(model_cache: Path) -> Iterator[EmbeddedChatModel]:
    settings = load_settings(env={"REVERIE_MODEL_CACHE": str(model_cache)}).settings
    chat = load_chat_model("smollm2", settings)
    assert isinstance(chat, EmbeddedChatModel)
    yield chat
    chat.engine.close()


async def test_it_answers_a_question(chat: EmbeddedChatModel) -> None:
    reply = await chat.ainvoke("What is the capital of France?", logprobs=True)

    assert isinstance(reply, AIMessage)
    assert "Paris" in reply.text
    assert reply.usage_metadata is not None
    content = reply.response_metadata["logprobs"]["content"]
    assert len(content) == reply.usage_metadata["output_tokens"]
    assert all(entry["logprob"] <= 0 for entry in content)
    assert reply.response_metadata["finish_reason"] == "stop"


async def test_it_keeps_to_a_pydantic_class(chat: EmbeddedChatModel) -> None:
    structured = chat.with_structured_output(Capital, max_tokens=60)

    assert isinstance(await structured.ainvoke("What is the capital of France?"), Capital)


async def test_a_conversation_reuses_what_was_computed(chat: EmbeddedChatModel) -> None:
    system = SystemMessage("You answer in one short sentence, in plain words, without examples.")
    question = HumanMessage("What happens to ice left in a warm room?")
    first = await chat.ainvoke([system, question], max_tokens=24)
    assert isinstance(first, AIMessage)

    second = await chat.ainvoke([system, question, first, HumanMessage("And why?")], max_tokens=24)

    assert isinstance(second, AIMessage)
    assert first.usage_metadata is not None
    assert second.usage_metadata is not None
    cached = second.usage_metadata["input_token_details"]["cache_read"]
    assert cached >= first.usage_metadata["input_tokens"] - 1


def test_every_control_token_in_a_question_stays_text(chat: EmbeddedChatModel) -> None:
    tokens = {i: t.content for i, t in chat.engine.tokenizer.added_tokens_decoder.items()}
    assert len(tokens) == 17

    plain = [i for i in chat._prompt_ids([HumanMessage("a")], "") if i in tokens]
    asked = chat._prompt_ids([HumanMessage(" ".join(tokens.values()))], "")

    assert [i for i in asked if i in tokens] == plain


def test_the_window_is_exact(chat: EmbeddedChatModel) -> None:
    window = chat.reverie_profile.window
    around = chat.count_tokens([HumanMessage("")])
    # "!" followed by a space is always two tokens of this tokenizer's.
    fits = [HumanMessage(" a" * (window - around - 1))]
    assert chat.count_tokens(fits) == window - 1

    with pytest.raises(ContextOverflow, match=str(window)):
        chat.invoke([HumanMessage(" a" * (window - around))])


async def test_a_megabyte_is_refused_at_once(chat: EmbeddedChatModel) -> None:
    began = time.monotonic()

    with pytest.raises(ContextOverflow):
        await chat.ainvoke("word " * 200_000)

    assert time.monotonic() - began < 0.5
