"""The running batch: whatever joins, leaves, grows, is packed, shared or reused around a request,
it gets the tokens and log-probabilities that the model gives for its prompt alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reverie.models.embedded.request import Finished, GenerationRequest, Sampling, TokenOut

torch = pytest.importorskip("torch", reason="the local extra is not installed")

from reverie.models.embedded import batch as batch_module  # noqa: E402  # needs torch
from reverie.models.embedded import kvcache  # noqa: E402
from reverie.models.embedded.batch import Batch, Row  # noqa: E402
from reverie.models.embedded.sampling import Sampler  # noqa: E402
from reverie.models.embedded.text import TextStream  # noqa: E402

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

NEVER = frozenset[int]()
TOLERANCE = 2e-4

NewBatch = Callable[..., Batch]


@dataclass
class Asked:
    """One request as a test sees it."""

    prompt: tuple[int, ...]
    sampling: Sampling
    cancelled: bool = False
    tokens: list[TokenOut] = field(default_factory=list)
    end: Finished | Exception | None = None

    def row(self, tokenizer: PreTrainedTokenizerFast) -> Row:
        backend = tokenizer.backend_tokenizer
        return Row(
            request=GenerationRequest(self.prompt, self.sampling),
            emit=self.take,
            sampler=Sampler(self.sampling),
            text=TextStream(backend, self.sampling.stop),
            grammar=None,
            cancelled=lambda: self.cancelled,
        )

    def take(self, item: TokenOut | Finished | Exception) -> None:
        assert self.end is None, "something came after the end"
        if isinstance(item, TokenOut):
            self.tokens.append(item)
        else:
            self.end = item

    @property
    def ids(self) -> list[int]:
        return [token.id for token in self.tokens]


@pytest.fixture
def new_batch(tiny_model: PreTrainedModel, tiny_tokenizer: PreTrainedTokenizerFast) -> NewBatch:
    def new(stop_ids: frozenset[int] = NEVER) -> Batch:
        return Batch(tiny_model, tiny_tokenizer.backend_tokenizer, stop_ids)

    return new


@pytest.fixture
def run(tiny_tokenizer: PreTrainedTokenizerFast) -> Callable[..., list[Asked]]:
    """Admits the requests together and steps until the batch is empty."""

    def run(batch: Batch, *prompts: Sequence[int], **sampling: object) -> list[Asked]:
        asked = [Asked(tuple(p), Sampling(**{"max_tokens": 12, **sampling})) for p in prompts]
        batch.admit([a.row(tiny_tokenizer) for a in asked])
        while batch.rows:
            batch.step()
        return asked

    return run


def assert_as_alone(model: PreTrainedModel, asked: Asked) -> None:
    """Every token is the likeliest, with the log-probability, of one plain forward pass."""
    if not asked.tokens:
        return
    ids = torch.tensor([[*asked.prompt, *asked.ids]])
    with torch.inference_mode():
        logits = model(input_ids=ids).logits[0, len(asked.prompt) - 1 : -1]
    expected = torch.log_softmax(logits.float(), dim=-1)
    own = expected.gather(1, torch.tensor(asked.ids)[:, None])[:, 0]
    reported = torch.tensor([token.logprob for token in asked.tokens])
    torch.testing.assert_close(reported, own, atol=TOLERANCE, rtol=0)
    if asked.sampling.temperature == 0:
        # Equal up to rounding, where two tokens are equally likely.
        torch.testing.assert_close(own, expected.max(-1).values, atol=TOLERANCE, rtol=0)


def numbers(seed: int, count: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(4, 320, (count,), generator=generator).tolist()


# -- as alone --------------------------------------------------------------------------------


def test_greedy_tokens_are_those_of_plain_generate(
    tiny_model: PreTrainedModel, new_batch: NewBatch, run: Callable[..., list[Asked]]
) -> None:
    prompts = [numbers(i, size) for i, size in enumerate((5, 40, 1, 17))]

    asked = run(new_batch(), *prompts, max_tokens=20)

    for prompt, one in zip(prompts, asked, strict=True):
        plain = tiny_model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt)),
            max_new_tokens=20,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
        assert one.ids == plain[0, len(prompt) :].tolist()


@dataclass(frozen=True)
class Visit:
    """A request that joins after ``wait`` steps and is cancelled ``patience`` steps later."""

    prompt: tuple[int, ...]
    wait: int
    max_tokens: int
    patience: int


visits = st.builds(
    Visit,
    prompt=st.builds(
        lambda common, seed, size: tuple(numbers(0, common) + numbers(seed, size)),
        st.sampled_from([0, 0, 40]),
        st.integers(1, 1000),
        st.integers(1, 60),
    ),
    wait=st.integers(0, 6),
    max_tokens=st.integers(1, 30),
    patience=st.sampled_from([3, 8, 1000]),
)


def play(
    batch: Batch, schedule: Sequence[Visit], tokenizer: PreTrainedTokenizerFast
) -> list[Asked]:
    """Runs a schedule: everyone joins ``wait`` steps after the one before."""
    waiting = deque(schedule)
    clock = {id(v): 0 for v in schedule}
    everyone: list[tuple[Asked, Visit]] = []
    due = waiting[0].wait
    while waiting or batch.rows:
        joining: list[Asked] = []
        while waiting and due <= 0:
            visit = waiting.popleft()
            asked = Asked(visit.prompt, Sampling(max_tokens=visit.max_tokens))
            everyone.append((asked, visit))
            joining.append(asked)
            due = waiting[0].wait if waiting else 0
        due -= 1
        if joining:
            batch.admit([asked.row(tokenizer) for asked in joining])
        for asked, visit in everyone:
            clock[id(visit)] += 1
            asked.cancelled = clock[id(visit)] > visit.patience
        batch.step()
    return [asked for asked, _ in everyone]


@settings(deadline=None, max_examples=40)
@given(schedule=st.lists(visits, min_size=1, max_size=7), columns=st.sampled_from([8, 64, 512]))
def test_any_schedule_gives_every_request_what_it_gets_alone(
    tiny_model: PreTrainedModel,
    tiny_tokenizer: PreTrainedTokenizerFast,
    schedule: list[Visit],
    columns: int,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kvcache, "_FIRST_COLUMNS", columns)  # few columns: growing and packing
        patch.setattr(batch_module, "_PREFILL_CHUNK", 24)
        batch = Batch(tiny_model, tiny_tokenizer.backend_tokenizer, NEVER)
        everyone = play(batch, schedule, tiny_tokenizer)

    for asked, visit in zip(everyone, schedule, strict=True):
        assert_as_alone(tiny_model, asked)
        assert isinstance(asked.end, Finished)
        assert asked.end.completion_tokens == len(asked.tokens)
        assert asked.end.prompt_tokens == len(visit.prompt)
        if asked.end.reason == "length":
            assert len(asked.tokens) == visit.max_tokens
        else:
            assert asked.end.reason == "cancelled"
            assert len(asked.tokens) < visit.max_tokens
        assert "".join(t.text for t in asked.tokens) + asked.end.text == whole_text(
            tiny_tokenizer, asked.ids
        )


def whole_text(tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> str:
    """The reply decoded at once, without a character that its end has cut in two."""
    text: str = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text.rstrip("\ufffd")


# -- the cache -------------------------------------------------------------------------------


def test_gaps_are_packed_away_and_nothing_changes(
    tiny_model: PreTrainedModel,
    tiny_tokenizer: PreTrainedTokenizerFast,
    new_batch: NewBatch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kvcache, "_FIRST_COLUMNS", 64)
    packed: list[int] = []
    pack = kvcache.RaggedCache._pack

    def spy(cache: kvcache.RaggedCache, longest: int) -> None:
        packed.append(longest)
        pack(cache, longest)

    monkeypatch.setattr(kvcache.RaggedCache, "_pack", spy)
    # A long one that leaves soon, and short ones that stay: their columns begin with a gap.
    schedule = [
        Visit(tuple(numbers(1, 50)), wait=0, max_tokens=3, patience=1000),
        Visit(tuple(numbers(2, 4)), wait=0, max_tokens=40, patience=1000),
        Visit(tuple(numbers(3, 9)), wait=2, max_tokens=40, patience=1000),
    ]

    everyone = play(new_batch(), schedule, tiny_tokenizer)

    assert packed
    for asked in everyone:
        assert_as_alone(tiny_model, asked)


def test_the_cache_grows_beyond_its_first_columns(
    tiny_model: PreTrainedModel,
    new_batch: NewBatch,
    run: Callable[..., list[Asked]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kvcache, "_FIRST_COLUMNS", 8)

    asked = run(new_batch(), numbers(1, 6), numbers(2, 3), max_tokens=60)

    for one in asked:
        assert len(one.tokens) == 60
        assert_as_alone(tiny_model, one)


@pytest.mark.parametrize("size", [23, 24, 25, 48, 49, 100])
def test_long_prompts_are_run_in_chunks(
    tiny_model: PreTrainedModel,
    new_batch: NewBatch,
    run: Callable[..., list[Asked]],
    monkeypatch: pytest.MonkeyPatch,
    size: int,
) -> None:
    monkeypatch.setattr(batch_module, "_PREFILL_CHUNK", 24)

    long, short = run(new_batch(), numbers(1, size), numbers(2, 3))

    assert_as_alone(tiny_model, long)
    assert_as_alone(tiny_model, short)


def test_an_idle_batch_gives_large_buffers_back(
    new_batch: NewBatch, run: Callable[..., list[Asked]], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = new_batch()
    run(batch, *(numbers(i, 300) for i in range(4)))
    large = batch._cache.used.shape

    monkeypatch.setattr(kvcache, "_KEEP_BYTES", 0)
    run(batch, numbers(1, 3))

    assert batch._cache.used.numel() < large.numel()


# -- prefixes --------------------------------------------------------------------------------


def test_a_repeated_prompt_comes_from_the_prefix_cache(
    tiny_model: PreTrainedModel, new_batch: NewBatch, run: Callable[..., list[Asked]]
) -> None:
    batch, prompt = new_batch(), numbers(1, 50)

    (first,) = run(batch, prompt)
    (second,) = run(batch, prompt)

    assert isinstance(first.end, Finished)
    assert isinstance(second.end, Finished)
    assert (first.end.cached_tokens, second.end.cached_tokens) == (0, 49)
    assert second.ids == first.ids
    assert_as_alone(tiny_model, second)


def test_a_longer_prompt_with_the_same_beginning_reuses_it(
    tiny_model: PreTrainedModel, new_batch: NewBatch, run: Callable[..., list[Asked]]
) -> None:
    batch, beginning = new_batch(), numbers(1, 50)
    run(batch, [*beginning, *numbers(2, 5)])

    (asked,) = run(batch, [*beginning, *numbers(3, 40)])

    assert isinstance(asked.end, Finished)
    assert asked.end.cached_tokens == 50
    assert_as_alone(tiny_model, asked)


def test_newcomers_that_share_a_beginning_compute_it_once(
    tiny_model: PreTrainedModel, new_batch: NewBatch, run: Callable[..., list[Asked]]
) -> None:
    beginning = numbers(1, 60)

    asked = run(new_batch(), *([*beginning, *numbers(i, i + 3)] for i in range(2, 6)))

    assert [one.end.cached_tokens for one in asked if isinstance(one.end, Finished)] == [
        *(0, 60, 60, 60)
    ]
    for one in asked:
        assert_as_alone(tiny_model, one)


def test_the_prefix_cache_forgets_the_least_recently_used() -> None:
    def prefix(*tokens: int) -> kvcache.Prefix:
        return kvcache.Prefix(tokens, [torch.zeros(1, len(tokens), 4)], [])

    cache = batch_module.PrefixCache(limit=3 * 4 * 4 * 2)
    cache.put(prefix(1, 1, 1))
    cache.put(prefix(2, 2, 2))
    assert cache.longest((1, 1, 9))[1] == 2  # used again

    cache.put(prefix(3, 3, 3))

    assert cache.longest((2, 2, 2)) == (None, 0)
    assert cache.longest((1, 1, 1, 5))[1] == 3


# -- numbers and ends ------------------------------------------------------------------------


def test_padding_is_never_nan(
    new_batch: NewBatch, run: Callable[..., list[Asked]], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = new_batch()
    seen: list[bool] = []
    forward = batch._model.forward

    def watched(*args: object, **kwargs: object) -> object:
        output = forward(*args, **kwargs)
        seen.append(bool(output.logits.isfinite().all()))
        return output

    monkeypatch.setattr(batch._model, "forward", watched)
    run(batch, numbers(1, 100), numbers(2, 1), numbers(3, 40))

    assert seen
    assert all(seen)
    for layer in batch._cache._buffers:
        assert layer.k.isfinite().all()
        assert layer.v.isfinite().all()


def test_the_end_token_stops_and_is_not_reported(
    new_batch: NewBatch, run: Callable[..., list[Asked]]
) -> None:
    (free,) = run(new_batch(), numbers(1, 9))
    end = next(i for n, i in enumerate(free.ids) if n >= 3 and i not in free.ids[:n])

    (asked,) = run(new_batch(frozenset({end})), numbers(1, 9))

    assert asked.ids == free.ids[: free.ids.index(end)]
    assert isinstance(asked.end, Finished)
    assert asked.end.reason == "stop"
    assert asked.end.completion_tokens == len(asked.ids)


def test_alternatives_are_the_likeliest_first(
    tiny_model: PreTrainedModel, new_batch: NewBatch, run: Callable[..., list[Asked]]
) -> None:
    (asked,) = run(new_batch(), numbers(1, 9), top_logprobs=5)

    for token in asked.tokens:
        values = [value for _, value in token.top]
        assert len(values) == 5
        assert values == sorted(values, reverse=True)
        assert token.top[0] == (token.token, pytest.approx(token.logprob, abs=1e-6))


# -- sampling in a batch ---------------------------------------------------------------------


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_a_seed_gives_the_same_tokens_alone_and_among_others(
    tiny_tokenizer: PreTrainedTokenizerFast,
    tiny_model: PreTrainedModel,
    new_batch: NewBatch,
    run: Callable[..., list[Asked]],
    top_p: float,
) -> None:
    drawing = {"temperature": 1.0, "top_p": top_p, "seed": 11, "max_tokens": 30}
    (alone,) = run(new_batch(), numbers(1, 9), **drawing)

    among = run(new_batch(), numbers(5, 30), numbers(1, 9), numbers(6, 2), **drawing)
    (other,) = run(new_batch(), numbers(1, 9), **{**drawing, "seed": 12})

    assert among[1].ids == alone.ids
    assert other.ids != alone.ids
    assert_as_alone(tiny_model, alone)  # log-probabilities are the model's, before top-p
