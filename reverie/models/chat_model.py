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
    ``response_format`` and ``prefill``, and stream with usage on the last chunk. A reply begins
    with its ``prefill``. With a schema, the whole reply, prefill included, obeys it.

    ``response_metadata`` holds ``finish_reason`` and ``usage_estimated`` on the last chunk,
    ``logprobs`` where asked for, ``notices`` (a list of sentences that a person should read) and,
    when several backends stand behind the model, ``backend``.
    """

    @property
    @abstractmethod
    def reverie_profile(self) -> ModelProfile:
        """What the model is known to be able to do."""

    @property
    def place(self) -> str:
        """Where it runs and what it is called there, as results name it."""
        return self.reverie_profile.name

    @property
    def counts_exactly(self) -> bool:
        """Whether ``count_tokens`` is exact; otherwise it is an upper bound."""
        return True

    @abstractmethod
    def count_tokens(self, messages: Sequence[BaseMessage], prefill: str = "") -> int:
        """How many prompt tokens a call with these messages costs. Blocks, at most for seconds."""

    async def prepare(self) -> ModelProfile:
        """Find out what is not known yet, so that ``reverie_profile`` need not wait for it."""
        return self.reverie_profile

    async def aclose(self) -> None:
        """Close connections that the running event loop has to this model's server, if any."""

    def close(self) -> None:
        """Close those of calls that were made without an event loop. Blocks."""
