"""Doubles for unit tests of graphs: a chat model that says what the test tells it to, and an
embedder that hashes words. The stores beside them are the real ones.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from reverie.graphs.context import Context
from reverie.graphs.reason import RECURSION_LIMIT, build
from reverie.graphs.resources import Resources
from reverie.knowledge.graph import GraphStore, SqliteGraph
from reverie.knowledge.graph.triplet import Triplet, embedding_text, triplet_batch
from reverie.models.chat_model import ChatModel
from reverie.models.profile import ModelProfile
from reverie.settings import Settings

QUESTION = "What happens when you drop a ball?"
FACTS = (
    Triplet("a ball", "you drop a ball", "it falls when dropped"),
    Triplet("a ball", "happens when you drop", "it bounces on the floor"),
    Triplet("a stone", "you drop what happens", "it sinks in water"),
)


@dataclass(frozen=True)
class Call:
    """One request, as the double saw it."""

    messages: Sequence[BaseMessage]
    options: dict[str, Any]

    @property
    def prefill(self) -> str:
        return str(self.options.get("prefill") or "")

    @property
    def schema(self) -> dict[str, Any] | None:
        form = self.options.get("response_format")
        return form["json_schema"]["schema"] if form else None

    @property
    def expert(self) -> str:
        found = re.search(r"You are an? (\w+) expert", self.messages[0].text)
        return found[1] if found else ""


@dataclass(frozen=True)
class Say:
    """What to reply: ``text`` goes on from the prefill; ``error`` comes after ``after`` tokens."""

    text: str = ""
    error: Exception | None = None
    after: int = 0
    delay: float = 0.0
    usage: bool = True
    logprobs: bool = True
    logprob: float = -0.1
    told: dict[str, Any] = field(default_factory=dict)
    """What the last chunk says beside."""


def dream_text(call: Call, answer: str = "it falls down.") -> str:
    """A document that obeys the call's schema, from its prefill on."""
    assert call.schema is not None
    items = call.schema["properties"]["triplets"]["items"]
    triplet = items["enum"][0] if "enum" in items else ["a ball", "is dropped", "it falls"]
    opened = not call.prefill.endswith('"')
    answer = f" {answer}" if opened else answer
    if not call.prefill:  # then the schema says how the answer begins, if at all
        pattern = call.schema["properties"]["answer"].get("pattern", "^")
        answer = f'{{"answer":"{pattern.partition("(")[0][1:]}{answer.lstrip()}'
    return f'{answer}","triplets":{json.dumps([triplet], separators=(",", ":"))}}}'


def usual(call: Call) -> Say:
    """What a well-behaved model says."""
    return Say(dream_text(call)) if call.schema else Say("It falls to the ground.")


def pieces(text: str) -> list[str]:
    """The double's tokens: words with the white space behind them."""
    return re.findall(r"\s*\S+\s*|\s+", text)


class ScriptedModel(ChatModel):
    """Says what ``script`` tells it to, as real models do: token by token, within max_tokens."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    script: Callable[[Call], Say | str] = usual
    parameters: int | None = 135_000_000
    window: int = 100_000
    abilities: dict[str, Any] = Field(
        default={
            "prefill": True,
            "schema_prefill": True,
            "json_schema": True,
            "schema_patterns": True,
        }
    )
    calls: list[Call] = Field(default_factory=list)
    tokens: list[int] = Field(default_factory=list)
    """What every call cost, prompt included, by the double's own count."""
    cancelled: list[Call] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    @property
    def reverie_profile(self) -> ModelProfile:
        return ModelProfile(
            name="scripted", window=self.window, parameters=self.parameters, **self.abilities
        )

    def count_tokens(self, messages: Sequence[BaseMessage], prefill: str = "") -> int:
        return sum(len(pieces(m.text)) + 4 for m in messages) + len(pieces(prefill))

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        call = Call(messages, {**kwargs, "stop": stop})
        self.calls.append(call)
        said = self.script(call)
        say = Say(said) if isinstance(said, str) else said
        prompt = self.count_tokens(messages, call.prefill)
        index = len(self.tokens)
        self.tokens.append(prompt)
        try:
            if call.prefill:
                yield _chunk(call.prefill)
            text = say.text
            for mark in stop or ():
                text = text.split(mark)[0]
            written = pieces(text)
            most = kwargs.get("max_tokens", len(written))
            assert most > 0
            for number, piece in enumerate(written[:most]):
                if say.error is not None and number >= say.after:
                    raise say.error
                await asyncio.sleep(say.delay)
                self.tokens[index] += 1
                yield _chunk(piece, say.logprob if say.logprobs else None)
            if say.error is not None:
                raise say.error
            yield _last(prompt, len(written[:most]), len(written) > most, say)
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled.append(call)
            raise

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError


def _chunk(text: str, logprob: float | None = None) -> ChatGenerationChunk:
    told = {"logprobs": {"content": [{"token": text, "logprob": logprob}]}}
    metadata = {} if logprob is None else told
    return ChatGenerationChunk(message=AIMessageChunk(content=text, response_metadata=metadata))


def _last(prompt: int, written: int, cut: bool, say: Say) -> ChatGenerationChunk:
    message = AIMessageChunk(
        content="",
        response_metadata={"finish_reason": "length" if cut else "stop", **say.told},
        usage_metadata={
            "input_tokens": prompt,
            "output_tokens": written,
            "total_tokens": prompt + written,
        }
        if say.usage
        else None,
        chunk_position="last",
    )
    return ChatGenerationChunk(message=message)


class HashEmbedder:
    """Bags of words, hashed: texts that share words are similar."""

    name = "hashed words"
    dimension = 64

    async def load(self, *, progress: object = None) -> None:
        del progress

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in re.findall(r"\w+", text.lower()) or [""]:
                vectors[row, hashlib.sha256(word.encode()).digest()[0] % self.dimension] += 1
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.maximum(norms, 1e-12)).astype(np.float32)


class ScriptedResources(Resources):
    """Resources with the doubles in them, and real stores under ``settings.home``."""

    def __init__(
        self,
        settings: Settings,
        model: ScriptedModel | None = None,
        facts: Sequence[Triplet] = FACTS,
    ) -> None:
        super().__init__(settings)
        self.scripted = model or ScriptedModel()
        self.hashed: Any = HashEmbedder()
        self.stored = list(facts)

    async def model(self, name: str = "", preview: bool | None = None) -> ChatModel:
        return self.scripted

    async def embedder(self) -> Any:
        return self.hashed

    def _chosen_embedder(self) -> Any:
        return self.hashed

    async def _open_facts(self) -> GraphStore:
        path = self.settings.home / "graph.sqlite"
        store = await SqliteGraph.open(path, embedder="hashed words", dimension=64)
        if self.stored:
            vectors = await self.hashed.embed([embedding_text(t) for t in self.stored])
            await store.write(triplet_batch(self.stored, vectors))
        return store


@dataclass
class Ran:
    """How a run went: what it streamed, the nodes in order, and the state it ended in."""

    events: list[dict[str, Any]] = field(default_factory=list)
    nodes: list[str] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]


async def run_graph(
    resources: ScriptedResources,
    question: str = QUESTION,
    *,
    graph: Any = None,
    checkpointer: Any = None,
    thread: str = "1",
    **context: Any,
) -> Ran:
    """Run the reason graph to its end. ``context`` are fields of Context."""
    graph = graph or build().compile(checkpointer=checkpointer)
    ran = Ran()
    stream = graph.astream(
        {"question": question},
        {"configurable": {"thread_id": thread}, "recursion_limit": RECURSION_LIMIT},
        context=Context(resources=resources.key, **{"min_similarity": 0.2, **context}),
        stream_mode=["custom", "values", "updates"],
        subgraphs=True,
        version="v2",
    )
    async for part in stream:
        if part["type"] == "custom":
            ran.events.append(part["data"])
        elif part["type"] == "updates":
            ran.nodes += part["data"]
        elif not part["ns"]:
            ran.state = part["data"]
    return ran


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
async def resources(settings: Settings) -> AsyncIterator[ScriptedResources]:
    scripted = ScriptedResources(settings)
    yield scripted
    await scripted.close()


@pytest.fixture
def model(resources: ScriptedResources) -> ScriptedModel:
    return resources.scripted
