"""The running batch: prefill of newcomers, decoding steps for all, on one model and one cache.

Synchronous and single-threaded; the engine's worker thread owns it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from reverie.errors import ReverieError
from reverie.models.embedded.kvcache import Prefix, RaggedCache
from reverie.models.embedded.request import Finished, FinishReason, GenerationRequest, TokenOut
from reverie.models.embedded.sampling import Sampler, describe, mask_logits
from reverie.models.embedded.text import TextStream

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

    from reverie.models.embedded.grammar import Grammar

_PREFILL_CHUNK = 512  # prompt tokens per forward pass: bounds activations and the mask's size
_FORCED_CHUNK = (
    16  # forced tokens per step: beyond, the other rows' padding costs more than it saves
)
_SHARED_PREFIX = 32  # tokens that newcomers must share before prefilling them once pays
_PREFIX_BYTES = 192 * 2**20


@dataclass(slots=True)
class Row:
    """One request in the batch.

    ``pending`` are the tokens whose keys and values are not in the cache yet: the newest reported
    one, then those that the grammar forces after it, which are reported once the model has given
    their log-probabilities. ``forced`` are forced tokens that have to wait for a later step.
    """

    request: GenerationRequest
    emit: Callable[[TokenOut | Finished | Exception], None]
    sampler: Sampler
    text: TextStream
    grammar: Grammar | None
    cancelled: Callable[[], bool]
    position: int = 0
    pending: list[int] = field(default_factory=list)
    forced: deque[int] = field(default_factory=deque)
    produced: int = 0
    cached: int = 0

    def finish(self, reason: FinishReason, rest: str = "") -> None:
        self.emit(Finished(reason, rest, len(self.request.prompt_ids), self.cached, self.produced))


class PrefixCache:
    """Keys and values of recent prompts, least recently used out first, within a byte limit."""

    def __init__(self, limit: int = _PREFIX_BYTES) -> None:
        self._entries: OrderedDict[tuple[int, ...], Prefix] = OrderedDict()
        self._limit = limit

    def longest(self, prompt: Sequence[int]) -> tuple[Prefix | None, int]:
        """The entry that shares most with ``prompt``'s beginning, and how many tokens."""
        best, best_size = None, 0
        for entry in self._entries.values():
            size = shared(entry.tokens, prompt)
            if size > best_size:
                best, best_size = entry, size
        if best is not None:
            self._entries.move_to_end(best.tokens)
        return best, best_size

    def put(self, prefix: Prefix) -> None:
        self._entries[prefix.tokens] = prefix
        while sum(e.nbytes for e in self._entries.values()) > self._limit:
            self._entries.popitem(last=False)


class Batch:
    """Everything that is being generated right now."""

    def __init__(
        self, model: PreTrainedModel, tokenizer: Tokenizer, stop_ids: frozenset[int]
    ) -> None:
        config = model.config
        heads = int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)
        head_dim = int(
            getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        )
        self._model = model
        self._tokenizer = tokenizer
        self._stop_ids = stop_ids
        self._cache = RaggedCache(
            layers=int(config.num_hidden_layers),
            heads=heads,
            head_dim=head_dim,
            dtype=model.dtype,
            device=model.device,
        )
        self._prefixes = PrefixCache()
        self.rows: list[Row] = []

    # -- joining ---------------------------------------------------------------------------

    def admit(self, newcomers: list[Row]) -> None:
        """Prefill new requests, together unless computing what they share first is cheaper."""
        if len(newcomers) > 1:
            first = newcomers[0].request.prompt_ids
            common = min(shared(first, row.request.prompt_ids) for row in newcomers[1:])
            _, known = self._prefixes.longest(first)
            if common - known >= _SHARED_PREFIX:
                self._prefill(newcomers[:1])
                newcomers = newcomers[1:]
        self._prefill(newcomers)

    def _prefill(self, newcomers: list[Row]) -> None:
        prompts = [row.request.prompt_ids for row in newcomers]
        found = [self._prefixes.longest(prompt) for prompt in prompts]
        # The last token is always run: its logits are what the first new token is drawn from.
        known = [min(size, len(p) - 1) for (_, size), p in zip(found, prompts, strict=True)]
        fresh = max(len(p) - size for p, size in zip(prompts, known, strict=True))
        first = self._cache.rows
        self._cache.add_rows(len(newcomers), max(known) + fresh)
        begin = self._cache.length - fresh
        for i, ((prefix, _), size) in enumerate(zip(found, known, strict=True)):
            if prefix is not None and size:
                self._cache.write_prefix(first + i, prefix, size, begin)
                newcomers[i].cached = size
        ids = torch.zeros(len(newcomers), fresh, dtype=torch.long)
        positions = torch.zeros_like(ids)
        for i, (prompt, size) in enumerate(zip(prompts, known, strict=True)):
            width = len(prompt) - size
            ids[i, fresh - width :] = torch.tensor(prompt[size:])
            positions[i, fresh - width :] = torch.arange(size, len(prompt))
            self._cache.used[first + i, self._cache.length - width : self._cache.length] = True
        logits = self._forward_chunks(ids, positions, first)
        for i, (row, prompt) in enumerate(zip(newcomers, prompts, strict=True)):
            row.position = len(prompt)
            if len(prompt) - known[i] >= _SHARED_PREFIX:
                self._prefixes.put(self._cache.read_prefix(first + i, prompt[:-1]))
        self.rows.extend(newcomers)
        over = [
            first + i
            for i, row in enumerate(newcomers)
            if not self._advance(row, logits[i : i + 1])
        ]
        self._drop(over)

    def _forward_chunks(self, ids: Tensor, positions: Tensor, first: int) -> Tensor:
        """Run ids ``[N, Q]`` for the last N rows; returns the last position's logits ``[N, V]``."""
        length, width = self._cache.length, ids.shape[1]
        last = self._cache.rows
        for at in range(0, width - _PREFILL_CHUNK, _PREFILL_CHUNK):
            self._cache.length = length - width + at + _PREFILL_CHUNK
            chunk = slice(at, at + _PREFILL_CHUNK)
            self._forward(ids[:, chunk], positions[:, chunk], first, last, keep=1)
        self._cache.length = length
        rest = slice((width - 1) // _PREFILL_CHUNK * _PREFILL_CHUNK, width)
        return self._forward(ids[:, rest], positions[:, rest], first, last, keep=1)[:, -1]

    # -- decoding --------------------------------------------------------------------------

    def step(self) -> None:
        """Run every row's pending tokens and draw its next one; rows that end leave."""
        over = [i for i, row in enumerate(self.rows) if row.cancelled()]
        for i in over:
            self.rows[i].finish("cancelled")
        self._drop(over)
        if not self.rows:
            return
        width = max(len(row.pending) for row in self.rows)
        ids = torch.zeros(len(self.rows), width, dtype=torch.long)
        positions = torch.zeros_like(ids)
        self._cache.extend(width)
        for i, row in enumerate(self.rows):
            size = len(row.pending)
            ids[i, width - size :] = torch.tensor(row.pending)
            positions[i, width - size :] = torch.arange(row.position, row.position + size)
            self._cache.used[i, self._cache.length - size : self._cache.length] = True
            row.position += size
        logits = self._forward(ids, positions, 0, len(self.rows), keep=width)
        over = [
            i
            for i, row in enumerate(self.rows)
            if not self._advance(row, logits[i, width - len(row.pending) :])
        ]
        self._drop(over)

    def _forward(
        self, ids: Tensor, positions: Tensor, first: int, last: int, *, keep: int
    ) -> Tensor:
        """Logits ``[N, keep, V]`` in float32 of ids ``[N, Q]``, the newest columns of the cache."""
        window = self._cache.look(first, last)
        width = ids.shape[1]
        used = self._cache.used[first:last, window.start : window.stop]
        mask = used[:, None, :].expand(-1, width, -1)
        if width > 1:
            columns = torch.arange(window.start, window.stop)
            own = columns[-width:]
            # A padding token sees itself: what a row that sees nothing yields is up to the
            # kernel; torch 2.13 gives finite numbers on the CPU, but a NaN would spread.
            mask = (mask & (columns <= own[:, None])) | (columns == own[:, None])
        with torch.inference_mode():
            output = self._model(
                input_ids=ids.to(self._model.device),
                attention_mask=mask[:, None].to(self._model.device),
                position_ids=positions.to(self._model.device),
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=keep,
            )
        # Drawing is one request at a time, with its own generator and grammar: on the CPU.
        logits: Tensor = output.logits.float().cpu()
        return logits

    def _advance(self, row: Row, logits: Tensor) -> bool:  # noqa: PLR0911  # one per way to end
        """Report a row's forced tokens and find its next one; False when the row has ended.

        ``logits`` ``[pending, V]``: entry i is what follows the row's i-th pending token.
        """
        logprobs = torch.log_softmax(logits, dim=-1)
        for at, token in enumerate(row.pending[1:]):
            if not self._report(row, token, logprobs[at]):
                return False
        if row.forced:
            token = row.forced.popleft()
        elif row.grammar is not None and row.grammar.complete:
            row.finish("stop", row.text.flush())
            return False
        else:
            try:
                token = self._draw(row, logits[-1])
            except ReverieError as error:
                row.emit(error)
                return False
            if token in self._stop_ids:
                row.finish("stop", row.text.flush())
                return False
        if not self._report(row, token, logprobs[-1]):
            return False
        if row.grammar is not None and row.grammar.complete and not row.forced:
            row.finish("stop", row.text.flush())
            return False
        row.pending = [token]
        while row.forced and len(row.pending) < _FORCED_CHUNK:
            row.pending.append(row.forced.popleft())
        return True

    def _draw(self, row: Row, logits: Tensor) -> int:
        """Draw the next token from logits ``[V]`` and queue what the grammar forces after it."""
        if row.grammar is None:
            return row.sampler.pick(logits)
        token = row.sampler.pick(mask_logits(logits, row.grammar.allowed()))
        if token not in self._stop_ids:
            row.grammar.accept(token)
            row.forced.extend(row.grammar.forced())
        return token

    def _report(self, row: Row, token: int, logprobs: Tensor) -> bool:
        """Emit one token with its entry of ``logprobs`` ``[V]``; False when it was the last."""
        drawn = describe(logprobs, token, row.request.sampling.top_logprobs)
        row.produced += 1
        text = row.text.push(drawn.id)
        row.emit(
            TokenOut(
                drawn.id,
                text,
                drawn.logprob,
                self._text_of(drawn.id),
                tuple((self._text_of(i), value) for i, value in drawn.top),
            )
        )
        if row.text.stopped:
            row.finish("stop")
            return False
        if row.produced >= row.request.sampling.max_tokens:
            row.finish("length", row.text.flush())
            return False
        return True

    def _text_of(self, token_id: int) -> str:
        return self._tokenizer.decode([token_id], skip_special_tokens=False)

    def clear(self) -> None:
        """Forget every request without telling its caller."""
        self.rows.clear()
        self._cache.clear()

    def _drop(self, indexes: list[int]) -> None:
        for i in sorted(indexes, reverse=True):
            self._cache.remove_row(i)
            self.rows[i] = self.rows[-1]
            self.rows.pop()


def shared(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two prompts begin with in common."""
    size = min(len(a), len(b))
    for i in range(size):
        if a[i] != b[i]:
            return i
    return size
