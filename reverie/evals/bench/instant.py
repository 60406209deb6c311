"""A model and an embedder that reply at once, in this process: what is left of a run's time is
Reverie's own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from numpy.typing import NDArray

from reverie.graphs.resources import Resources
from reverie.models.chat_model import ChatModel
from reverie.models.profile import ModelProfile

_TRIPLET = ["a ball", "is dropped", "it falls"]


class InstantModel(ChatModel):
    """Says one sentence, or the dream that its schema asks for, in one piece."""

    @property
    def _llm_type(self) -> str:
        return "instant"

    @property
    def reverie_profile(self) -> ModelProfile:
        return ModelProfile(name="instant", window=100_000, json_schema=True)

    def count_tokens(self, messages: Sequence[BaseMessage], prefill: str = "") -> int:
        """A quarter of the characters."""
        return sum(len(message.text) for message in messages) // 4 + len(prefill) // 4

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        del stop, run_manager
        text = "It falls to the ground."
        if kwargs.get("response_format"):
            text = json.dumps({"answer": text, "triplets": [_TRIPLET]})
        prompt = self.count_tokens(messages)
        yield ChatGenerationChunk(
            message=AIMessageChunk(
                content=text,
                response_metadata={
                    "finish_reason": "stop",
                    "logprobs": {"content": [{"token": text, "logprob": -0.1}]},
                },
                usage_metadata={
                    "input_tokens": prompt,
                    "output_tokens": 12,
                    "total_tokens": prompt + 12,
                },
                chunk_position="last",
            )
        )

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError("streams only")


class InstantEmbedder:
    """Bags of hashed words."""

    name = "hashed words"
    dimension = 64
    notices: tuple[str, ...] = ()

    async def load(self, *, progress: object = None) -> None:
        """There is nothing to load."""

    async def aclose(self) -> None:
        """There is nothing to close."""

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """``[N, 64]``, of length 1."""
        vectors = np.full((len(texts), self.dimension), 1e-6, dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                vectors[row, hashlib.sha256(word.encode()).digest()[0] % self.dimension] += 1
        norms: NDArray[np.float32] = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors /= norms
        return vectors


class InstantResources(Resources):
    """Resources with them, and real stores."""

    instant = InstantModel()
    hashed: Any = InstantEmbedder()

    async def model(self, name: str = "", preview: bool | None = None) -> ChatModel:
        del name, preview
        return self.instant

    async def embedder(self) -> Any:
        return self.hashed

    def _chosen_embedder(self) -> Any:
        return self.hashed
