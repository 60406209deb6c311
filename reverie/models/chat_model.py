"""What every chat model of Reverie offers beside LangChain's interface."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage

from reverie.models.profile import ModelProfile


class ChatModel(BaseChatModel):
    """A chat model whose prompts can be counted before they are sent.

    Calls take ``max_tokens``, ``temperature``, ``top_p``, ``seed``, ``stop``, ``logprobs``,
    ``response_format`` and ``prefill``, and stream with usage on the last chunk.
    """

    @property
    @abstractmethod
    def reverie_profile(self) -> ModelProfile:
        """What the model is known to be able to do."""

    @abstractmethod
    def count_tokens(self, messages: Sequence[BaseMessage], prefill: str = "") -> int:
        """How many prompt tokens a call with these messages costs. Blocks for milliseconds."""
