"""From token log-probabilities to a score."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.graphs.confidence import mean_probability, span

TOKENS = [("The", -0.1), (" ball", -0.2), (" falls", -0.4), (".", -0.8)]


def test_it_is_the_geometric_mean_of_the_probabilities() -> None:
    assert mean_probability([("a", math.log(0.9)), ("b", math.log(0.4))]) == pytest.approx(0.6)
    assert mean_probability([]) is None


@given(st.lists(st.floats(-50, 0), min_size=1, max_size=40))
def test_it_lies_between_the_least_and_the_most_likely_token(logprobs: list[float]) -> None:
    score = mean_probability([("x", logprob) for logprob in logprobs])

    assert score is not None
    low, high = math.exp(min(logprobs)), math.exp(max(logprobs))
    assert low * (1 - 1e-9) <= score <= high * (1 + 1e-9)
    assert 0 <= score <= 1


def test_a_span_is_the_tokens_that_wrote_a_text() -> None:
    assert span(TOKENS, " ball falls") == TOKENS[1:3]
    assert span(TOKENS, "all fal") == TOKENS[1:3]  # half tokens count


@pytest.mark.parametrize("text", ["", "nowhere"])
def test_without_the_text_all_tokens_count(text: str) -> None:
    assert span(TOKENS, text) == TOKENS
