"""What a model, and the server that runs it, are known to be able to do."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

_INVENTS_FROM = 1_000_000_000

Wire = Literal["chat", "responses"]
Tools = Literal["native", "forced", "text", "none"]
Usage = Literal["always", "asked", "never"]
Reasoning = Literal["", "reasoning", "reasoning_content", "think", "think_end"]
Grammar = Literal["", "structured_outputs", "gbnf", "ebnf"]
Counter = Literal["", "vllm", "llamacpp"]


class ModelProfile(BaseModel):
    """One model's abilities. The defaults are the cautious ones: nothing is taken for granted that
    a server could refuse or silently ignore.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="The model's name, as requests say it")
    window: int | None = Field(None, gt=0, description="Context window in tokens; None: unknown")
    parameters: int | None = Field(None, description="Number of weights; None: unknown")
    wire: Wire = Field("chat", description="Chat Completions or Responses")
    tools: Tools = Field(
        "native",
        description="native: calls in their own field, when the model wants; forced: only when one "
        "is required; text: written into the answer; none: refused",
    )
    strict_tools: bool = Field(
        False, description="Arguments of a tool marked strict obey its schema"
    )
    parallel_tools: bool = Field(False, description="Several tool calls in one reply")
    json_schema: bool = Field(False, description="Obeys response_format with a JSON schema")
    schema_patterns: bool = Field(False, description="Obeys patterns of strings in a schema")
    json_object: bool = Field(False, description="Obeys response_format json_object")
    schema_with_tools: bool = Field(False, description="Takes schema and tools in one request")
    grammar: Grammar = Field(
        "",
        description="How a request asks for a regular expression or grammar: vLLM's "
        "structured_outputs, llama.cpp's GBNF, SGLang's EBNF; empty: not at all",
    )
    logprobs: bool = Field(False, description="Log-probabilities of the tokens")
    top_logprobs: int = Field(0, ge=0, description="Most alternatives per token")
    prompt_logprobs: bool = Field(False, description="Log-probabilities of the prompt's tokens")
    token_ids: bool = Field(False, description="Returns the ids of prompt and tokens")
    usage: Usage = Field("asked", description="When streams end in a count of tokens")
    reasoning: Reasoning = Field(
        "",
        description="Where reasoning is: a field of that name, between <think> tags, or before a "
        "</think> that nothing opens; empty: none was seen, and all of them are looked for",
    )
    n: bool = Field(False, description="Several replies to one request")
    seed: bool = Field(False, description="The same seed gives the same reply")
    stop: bool = Field(False, description="Ends at stop strings; otherwise the client cuts there")
    sampling: bool = Field(True, description="Takes temperature and top_p")
    prefill: bool = Field(False, description="Goes on with a reply that the request has begun")
    schema_prefill: bool = Field(
        False, description="Goes on with it under a schema too, which the whole reply obeys"
    )
    embeddings: bool = Field(False, description="Has /embeddings")
    counter: Counter = Field("", description="Whose endpoint counts tokens; empty: none")
    refuses: tuple[str, ...] = Field(
        (), description="Fields of a request that the server answers with an error"
    )
    max_tokens_field: Literal["max_tokens", "max_completion_tokens", "max_output_tokens"] = Field(
        "max_tokens", description="What a request calls its limit on the reply"
    )

    @property
    def dreams_own_triplets(self) -> bool:
        """Whether its dreams may make up triplets while facts are at hand.

        Models under a billion parameters invent mostly wrong ones: they choose among the facts.
        """
        return self.parameters is None or self.parameters >= _INVENTS_FROM
