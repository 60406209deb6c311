"""Triplets that a model reads from chunks, each with the sentence it is said in."""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from reverie.errors import (
    BudgetExceeded,
    ConfigError,
    ModelUnavailable,
    OutputInvalid,
    ReverieError,
)
from reverie.knowledge.chunk.chunk import Chunk
from reverie.knowledge.extract.prompt import (
    Words,
    example_parts,
    extraction_messages,
    triplet_schema,
)
from reverie.knowledge.extract.prune import Draft, Grounded, Reason, prune
from reverie.knowledge.graph.records import Span, Status
from reverie.knowledge.graph.triplet import Triplet

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from reverie.models.chat_model import ChatModel

MOST_TRIPLETS: Final = 4
"""Of one chunk, unless told otherwise."""
_TOKENS_EACH = 48
"""What one triplet takes with its brackets."""
_FEWEST_TOKENS = 48
"""Below that not even one is whole."""
_UNAVAILABLE_IN_A_ROW = 3

_TRIPLE = re.compile(r'\[\s*"(?:[^"\\]|\\.)*"(?:\s*,\s*"(?:[^"\\]|\\.)*"){2}\s*\]')


@dataclass(frozen=True, slots=True)
class Extraction:
    """What came of one chunk."""

    chunk: Chunk
    triplets: Sequence[Triplet] = ()
    dropped: Mapping[Reason, int] = field(default_factory=dict)
    """How many the model wrote that were left out, and why."""
    complete: bool = True
    """False when ``max_tokens`` cut the reply off; what was whole by then is kept."""
    error: ReverieError | None = None
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class _Written:
    text: str = ""
    tokens: list[tuple[str, float]] = field(default_factory=list)
    finish: str = ""
    tokens_in: int = 0
    tokens_out: int = 0


class TripletExtractor:
    """Reads (what, action, result) triplets from chunks with a chat model.

    The reply is held to a schema; a model under a billion parameters may use only words of the
    chunk, where its engine can see to that. What the text cannot have said is left out
    (``prune``). Triplets are hypotheses unless ``status`` says otherwise: that a sentence has the
    words does not make the statement right, and only facts ground answers.
    """

    def __init__(
        self,
        model: ChatModel,
        *,
        most: int = MOST_TRIPLETS,
        tokens: int = 2000,
        seconds: float = 120.0,
        status: Status = "hypothesis",
        words: Words | None = None,
        pruned: bool = True,
    ) -> None:
        """``most`` triplets of a chunk; ``tokens`` (prompt and reply) and ``seconds`` for one at
        most. ``words``: None means by the model's size. Without ``pruned``, only what has an empty
        part or is a repetition is left out.
        """
        if most < 1 or tokens < 1 or not seconds > 0:
            raise ConfigError("most, tokens and seconds of an extraction must be above 0")
        self._model = model
        self._most = most
        self._tokens = tokens
        self._seconds = seconds
        self._status: Status = status
        self._words: Words | None = words
        self._pruned = pruned

    async def extract(self, chunk: Chunk) -> list[Triplet]:
        """The triplets of one chunk; none for one without words.

        Raises BudgetExceeded when the prompt leaves no room for a reply, OutputInvalid when that
        cannot be read, ModelUnavailable also when the seconds are over, and what the model raises.
        """
        return list((await self.examine(chunk)).triplets)

    async def examine(self, chunk: Chunk) -> Extraction:
        """As ``extract``, with what was left out and what it cost."""
        began = time.monotonic()
        if not re.search(r"\w", chunk.text):
            return Extraction(chunk)
        limit = asyncio.timeout(self._seconds)
        try:
            async with limit:
                written = await self._ask(chunk)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise ModelUnavailable(
                f"{self._model.place} took longer than {self._seconds:g} s to read a chunk of "
                f"{chunk.span}",
                hint="give it more seconds, or smaller chunks",
                transient=True,
            ) from error
        drafts = await asyncio.to_thread(_drafts, written, chunk)
        kept, dropped = await asyncio.to_thread(self._kept, drafts, chunk)
        return Extraction(
            chunk,
            [self._triplet(grounded, chunk) for grounded in kept],
            dropped,
            complete=written.finish != "length",
            tokens_in=written.tokens_in,
            tokens_out=written.tokens_out,
            seconds=time.monotonic() - began,
        )

    async def extract_all(
        self, chunks: Sequence[Chunk], *, at_once: int = 4
    ) -> AsyncGenerator[Extraction, None]:
        """Every chunk, in order, ``at_once`` of them asked at the same time. One that fails is
        returned with its ``error``, and the others go on; when the model could not be reached for
        three in a row, the rest is not asked, and returned with that error.
        """
        waiting = deque(chunks)
        asked: deque[asyncio.Task[Extraction]] = deque()
        unavailable = 0
        try:
            while waiting or asked:
                while waiting and len(asked) < max(1, at_once):
                    asked.append(asyncio.create_task(self._tried(waiting.popleft())))
                done = await asked[0]
                asked.popleft()
                gone = isinstance(done.error, ModelUnavailable)
                unavailable = unavailable + 1 if gone else 0
                yield done
                if unavailable >= _UNAVAILABLE_IN_A_ROW:
                    for task in asked:
                        yield await task
                    asked.clear()
                    for chunk in waiting:
                        yield Extraction(chunk, error=done.error)
                    return
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def _tried(self, chunk: Chunk) -> Extraction:
        began = time.monotonic()
        try:
            return await self.examine(chunk)
        except ReverieError as error:
            return Extraction(chunk, error=error, seconds=time.monotonic() - began)

    async def _ask(self, chunk: Chunk) -> _Written:
        profile = await self._model.prepare()
        words: Words = self._words or ("any" if profile.dreams_own_triplets else "chunk")
        schema = triplet_schema(chunk.text, profile, most=self._most, words=words)
        messages = await asyncio.to_thread(extraction_messages, chunk.text)
        prompt = await asyncio.to_thread(self._model.count_tokens, messages)
        room = self._tokens - prompt
        if room < _FEWEST_TOKENS:
            raise BudgetExceeded(
                f"{self._tokens} tokens are too few to read a chunk of {chunk.span}: its prompt "
                f"has {prompt}",
                hint=f"give {prompt + _FEWEST_TOKENS} tokens or more, or make chunks smaller",
            )
        most = min(room, _FEWEST_TOKENS + self._most * _TOKENS_EACH)
        written = _Written(tokens_in=prompt)
        await self._stream(messages, written, schema, most)
        return written

    async def _stream(
        self,
        messages: list[BaseMessage],
        written: _Written,
        schema: Mapping[str, Any],
        max_tokens: int,
    ) -> None:
        form = {"type": "json_schema", "json_schema": {"name": "triplets", "schema": schema}}
        stream = self._model.astream(
            messages, max_tokens=max_tokens, temperature=0.0, logprobs=True, response_format=form
        )
        async for part in stream:
            told = part.response_metadata
            for entry in (told.get("logprobs") or {}).get("content") or ():
                written.tokens.append((entry["token"], entry["logprob"]))
            if part.usage_metadata:
                written.tokens_in = part.usage_metadata["input_tokens"]
                written.tokens_out = part.usage_metadata["output_tokens"]
            written.finish = told.get("finish_reason") or written.finish
            written.text += str(part.text)

    def _kept(
        self, drafts: Sequence[Draft], chunk: Chunk
    ) -> tuple[Sequence[Grounded], Counter[Reason]]:
        examples = example_parts() if self._pruned else ()
        minimum = {} if self._pruned else {"minimum": 0.0}
        found = prune(drafts, chunk.text, most=self._most, examples=examples, **minimum)
        return found.kept, found.dropped

    def _triplet(self, grounded: Grounded, chunk: Chunk) -> Triplet:
        draft = grounded.draft
        return Triplet(
            what=draft.what,
            action=draft.action,
            result=draft.result,
            status=self._status,
            source=chunk.span.path,
            model=self._model.place,
            confidence=draft.confidence,
            span=_span(chunk, grounded),
        )


def _drafts(written: _Written, chunk: Chunk) -> list[Draft]:
    """The whole triplets in a reply. Raises OutputInvalid when it is no list of them."""
    found = list(_TRIPLE.finditer(written.text[:100_000]))
    if not found and '"triplets"' not in written.text:
        raise OutputInvalid(
            f"the reply about {chunk.span} lists no triplets; it begins "
            f"{' '.join(written.text.split())[:80]!r}",
            hint="a larger model, or a server that obeys schemas, does",
        )
    drafts = []
    for match in found:
        try:
            what, action, result = (" ".join(part.split()) for part in json.loads(match[0]))
        except ValueError:
            continue
        confidence = _probability(written, match.start(), match.end())
        drafts.append(Draft(what, action, result, confidence))
    return drafts


def _probability(written: _Written, start: int, end: int) -> float | None:
    """The geometric mean of the probabilities of the tokens from ``start`` to ``end``; None when
    tokens and text do not fit together, as after a repair.
    """
    if "".join(token for token, _ in written.tokens) != written.text:
        return None
    position, logprobs = 0, []
    for token, logprob in written.tokens:
        if position < end and position + len(token) > start:
            logprobs.append(logprob)
        position += len(token)
    return min(1.0, math.exp(sum(logprobs) / len(logprobs))) if logprobs else None


def _span(chunk: Chunk, grounded: Grounded) -> Span:
    """The lines of the sentence, where a line of the chunk is a line of the file."""
    whole = chunk.span
    if whole.last_line - whole.first_line != chunk.text.count("\n"):
        return whole
    first = whole.first_line + chunk.text.count("\n", 0, grounded.start)
    last = first + chunk.text.count("\n", grounded.start, grounded.end)
    return Span(whole.path, first, last, whole.page)
