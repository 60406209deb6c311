"""Constraining a reply to a JSON schema with llguidance.

llguidance rather than xgrammar: it needs neither triton nor a compiler, computes masks for a whole
batch in parallel in Rust, and says which tokens the grammar forces, which the engine then runs
through the model together instead of one at a time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reverie.errors import ModelRejected

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer
    from transformers import PreTrainedTokenizerFast


class Grammar:
    """Where one reply stands in its schema."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher

    def allowed(self) -> bytes:
        """Which tokens may come next: one bit a token, lowest bit first."""
        mask = self._matcher.compute_bitmask()
        if self._matcher.is_error():  # llguidance then allows the end of the reply, as if it fitted
            raise ModelRejected(
                f"the grammar cannot go on: {self._matcher.get_error()}",
                hint="simplify the JSON schema",
            )
        return mask

    def accept(self, token_id: int) -> None:
        if not self._matcher.consume_token(token_id):
            raise ModelRejected(
                f"the grammar rejected a token that it had allowed: {self._matcher.get_error()}",
                hint="simplify the JSON schema",
            )

    def forced(self) -> list[int]:
        """The tokens that must come next, already accepted; empty when there is a choice."""
        tokens = self._matcher.compute_ff_tokens()
        if tokens and not self._matcher.consume_tokens(tokens):
            return []
        return list(tokens)

    @property
    def complete(self) -> bool:
        """The document is whole: nothing but the end of the reply may follow."""
        return self._matcher.is_stopped() and not self._matcher.is_error()


class GrammarCompiler:
    """Builds grammars for one tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, vocabulary: int) -> None:
        import llguidance.hf

        self._tokenizer: LLTokenizer = llguidance.hf.from_tokenizer(tokenizer, n_vocab=vocabulary)

    def compile(self, schema: Mapping[str, Any], prefill: str = "") -> Grammar:
        """A grammar for ``schema`` without extra white space, already past ``prefill``.

        Raises ModelRejected when the schema cannot be compiled or the prefill cannot begin it.
        Takes milliseconds, for large schemas up to a second: call it outside the event loop.
        """
        from llguidance import LLMatcher

        try:
            grammar = LLMatcher.grammar_from_json_schema(
                json.dumps(schema), overrides={"whitespace_flexible": False}
            )
        except (TypeError, ValueError) as error:
            raise ModelRejected(f"the JSON schema is not valid: {error}") from error
        matcher = LLMatcher(self._tokenizer, grammar)
        if matcher.is_error():
            raise ModelRejected(
                f"the JSON schema cannot be compiled: {matcher.get_error()}",
                hint="leave out the keywords that the message names",
            )
        if prefill and not matcher.consume_tokens(self._tokenizer.tokenize_str(prefill)):
            raise ModelRejected(f"the reply cannot begin with {prefill!r} under its JSON schema")
        return Grammar(matcher)
