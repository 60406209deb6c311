"""Drawing the next token of every sequence of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reverie.models.embedded.request import Sampling

_NUCLEUS = 512  # candidates looked at before a full sort: a top-p nucleus is rarely wider


@dataclass(slots=True)
class Drawn:
    """The drawn token, its log-probability, and the most likely alternatives with theirs."""

    id: int
    logprob: float
    top: list[tuple[int, float]]


class Sampler:
    """One request's own random stream and drawing rule."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._generator: torch.Generator | None = None
        if sampling.temperature > 0:
            self._generator = torch.Generator()
            if sampling.seed is None:
                self._generator.seed()
            else:
                self._generator.manual_seed(sampling.seed)

    def pick(self, logits: Tensor) -> int:
        """The next token id from logits ``[V]``, already masked by a grammar if there is one."""
        if self._generator is None:
            return int(logits.argmax())
        probabilities = torch.softmax(logits / self._sampling.temperature, dim=-1)
        if self._sampling.top_p >= 1:
            return int(torch.multinomial(probabilities, 1, generator=self._generator))
        values, ids = _nucleus(probabilities, self._sampling.top_p)
        return int(ids[torch.multinomial(values, 1, generator=self._generator)])


def describe(logprobs: Tensor, token_id: int, top: int) -> Drawn:
    """The token's entry of the log-probabilities ``[V]`` and its ``top`` best alternatives."""
    best: list[tuple[int, float]] = []
    if top:
        values, ids = logprobs.topk(top)
        best = list(zip(ids.tolist(), values.tolist(), strict=True))
    return Drawn(token_id, float(logprobs[token_id]), best)


def mask_logits(logits: Tensor, allowed: bytes) -> Tensor:
    """Logits ``[V]`` with every token that ``allowed`` (one bit a token) leaves out at -inf."""
    bits = torch.frombuffer(bytearray(allowed), dtype=torch.uint8)
    shifts = torch.arange(8, dtype=torch.uint8)
    mask = ((bits[:, None] >> shifts) & 1).flatten()[: logits.shape[0]].bool()
    if mask.shape[0] < logits.shape[0]:  # padding rows of the embedding are never tokens
        mask = torch.nn.functional.pad(mask, (0, logits.shape[0] - mask.shape[0]))
    return logits.masked_fill(~mask, float("-inf"))


def _nucleus(probabilities: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """The smallest set of most likely tokens whose mass reaches ``top_p``, and their ids."""
    values, ids = probabilities.topk(min(_NUCLEUS, probabilities.shape[0]))
    mass = values.cumsum(0)
    if float(mass[-1]) < top_p:
        values, ids = probabilities.sort(descending=True)
        mass = values.cumsum(0)
    size = int((mass < top_p).sum()) + 1
    return values[:size], ids[:size]


def stop_ids(*sources: object) -> frozenset[int]:
    """The end-of-sequence ids named by configs and tokenizer, each None, a number or a list."""
    ids: set[int] = set()
    for source in sources:
        if isinstance(source, int):
            ids.add(source)
        elif isinstance(source, Sequence) and not isinstance(source, str):
            ids.update(i for i in source if isinstance(i, int))
    return frozenset(ids)
