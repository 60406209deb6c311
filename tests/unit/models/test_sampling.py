"""How a token is drawn from logits."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.errors import ConfigError
from reverie.models.embedded.request import Sampling

torch = pytest.importorskip("torch", reason="the local extra is not installed")

from reverie.models.embedded.sampling import (  # noqa: E402  # needs torch
    Sampler,
    describe,
    mask_logits,
    stop_ids,
)

# Probabilities 0.5, 0.25, 0.15, 0.1 in a shuffled vocabulary of 1000.
LIKELY = {700: 0.5, 3: 0.25, 999: 0.15, 42: 0.1}


@pytest.fixture
def logits() -> torch.Tensor:
    values = torch.full((1000,), float("-inf"))
    for token, probability in LIKELY.items():
        values[token] = math.log(probability)
    return values


def draw(logits: torch.Tensor, count: int = 400, **options: object) -> list[int]:
    sampler = Sampler(Sampling(**options))
    return [sampler.pick(logits) for _ in range(count)]


def test_temperature_zero_takes_the_likeliest(logits: torch.Tensor) -> None:
    assert set(draw(logits, temperature=0.0, seed=1)) == {700}


def test_draws_follow_the_probabilities(logits: torch.Tensor) -> None:
    drawn = draw(logits, 4000, temperature=1.0, seed=1)

    for token, probability in LIKELY.items():
        assert drawn.count(token) / 4000 == pytest.approx(probability, abs=0.03)


def test_temperature_sharpens_and_flattens(logits: torch.Tensor) -> None:
    cold, hot = (draw(logits, 2000, temperature=t, seed=1).count(700) for t in (0.5, 5.0))

    assert cold / 2000 == pytest.approx(0.25 / (0.25 + 0.0625 + 0.0225 + 0.01), abs=0.04)
    assert hot / 2000 < 0.35


@pytest.mark.parametrize(
    ("top_p", "support"),
    [
        (0.1, {700}),
        (0.5, {700}),
        (0.6, {700, 3}),
        (0.76, {700, 3, 999}),
        (0.999, {700, 3, 999, 42}),
    ],
)
def test_top_p_keeps_the_smallest_set_that_reaches_it(
    logits: torch.Tensor, top_p: float, support: set[int]
) -> None:
    assert set(draw(logits, temperature=1.0, top_p=top_p, seed=1)) == support


def test_a_nucleus_wider_than_the_first_look_is_whole() -> None:
    flat = torch.zeros(1000)

    drawn = draw(flat, 5000, temperature=1.0, top_p=0.9, seed=1)

    assert 850 < len(set(drawn)) <= 901


def test_a_seed_repeats_and_another_differs(logits: torch.Tensor) -> None:
    first = draw(logits, temperature=1.0, seed=5)

    assert draw(logits, temperature=1.0, seed=5) == first
    assert draw(logits, temperature=1.0, seed=6) != first


def test_without_a_seed_every_request_differs(logits: torch.Tensor) -> None:
    assert draw(logits, temperature=1.0) != draw(logits, temperature=1.0)


@given(allowed=st.sets(st.integers(0, 99), min_size=1), spare=st.integers(0, 40))
def test_a_mask_leaves_exactly_the_allowed_tokens(allowed: set[int], spare: int) -> None:
    # ``spare``: rows of the embedding beyond the grammar's vocabulary of 104 bits.
    bits = bytearray(13)
    for token in allowed:
        bits[token // 8] |= 1 << token % 8

    masked = mask_logits(torch.zeros(104 + spare), bytes(bits))

    assert set(masked.isfinite().nonzero().squeeze(1).tolist()) == allowed


def test_a_mask_longer_than_the_vocabulary_is_cut() -> None:
    assert mask_logits(torch.zeros(5), b"\xff\xff").isfinite().all()


def test_a_token_is_described_by_its_own_entry() -> None:
    logprobs = torch.log_softmax(torch.tensor([1.0, 3.0, 2.0]), dim=-1)

    drawn = describe(logprobs, 0, 2)

    assert drawn.logprob == pytest.approx(float(logprobs[0]))
    assert [token for token, _ in drawn.top] == [1, 2]
    assert describe(logprobs, 0, 0).top == []


def test_end_tokens_come_as_none_number_or_list() -> None:
    assert stop_ids(None, 3, [4, 5], (3,)) == {3, 4, 5}


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_tokens": 0},
        {"temperature": -0.1},
        {"temperature": math.nan},
        {"temperature": math.inf},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"seed": 2**64},
        {"top_logprobs": 21},
        {"top_logprobs": -1},
    ],
    ids=str,
)
def test_values_without_a_meaning_are_refused(wrong: dict[str, float]) -> None:
    (name,) = wrong

    with pytest.raises(ConfigError, match=f"{name} must be"):
        Sampling(**wrong)
