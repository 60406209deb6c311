"""What each strategy of a sequence is given, by its cost and its expected gain."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reverie.graphs.allocate import Planned, allocate
from reverie.graphs.records import Limits


def left(tokens: int) -> Limits:
    return {"tokens": tokens, "seconds": 60.0, "calls": 10, "money": None}


PLANNED = st.builds(
    Planned,
    strategy=st.just("s"),
    cost=st.floats(0, 3000),
    spread=st.floats(0, 1500),
    gain=st.floats(0, 1),
)
SEQUENCE = st.lists(PLANNED, min_size=1, max_size=6)
TOKENS = st.integers(0, 10_000)


@given(st.lists(PLANNED, max_size=6), TOKENS, st.integers(0, 2000))
def test_all_together_get_no_more_than_there_is(
    planned: list[Planned], tokens: int, keep: int
) -> None:
    shares = allocate(planned, left(tokens), keep=keep)

    assert len(shares) == len(planned)
    assert all(share >= 0 for share in shares)
    assert sum(shares) == (max(0, tokens - keep) if planned else 0)


@given(SEQUENCE, TOKENS)
def test_the_first_is_never_starved(planned: list[Planned], tokens: int) -> None:
    assert allocate(planned, left(tokens))[0] >= min(tokens, planned[0].cost)


@given(SEQUENCE, TOKENS)
def test_what_comes_later_gets_its_cost_or_nothing(planned: list[Planned], tokens: int) -> None:
    for one, share in zip(planned[1:], allocate(planned, left(tokens))[1:], strict=True):
        assert share == 0 or share >= one.cost
        assert share <= max(1, one.cost + 1) + one.spread + 1


@given(SEQUENCE, TOKENS, st.floats(0, 1), st.data())
def test_more_gain_never_lowers_a_share(
    planned: list[Planned], tokens: int, more: float, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(planned) - 1))
    assume(more >= planned[place].gain)
    better = [*planned]
    better[place] = replace(planned[place], gain=more)

    before, after = allocate(planned, left(tokens)), allocate(better, left(tokens))

    assert after[place] >= before[place]


@given(SEQUENCE, TOKENS, st.floats(0, 3000))
def test_a_dearer_first_strategy_gets_no_less(
    planned: list[Planned], tokens: int, cost: float
) -> None:
    assume(cost >= planned[0].cost)
    # With no spread of its own there is nothing but the cost that could change its share.
    first = replace(planned[0], spread=0.0)
    dearer = [replace(first, cost=cost), *planned[1:]]

    before, after = allocate([first, *planned[1:]], left(tokens)), allocate(dearer, left(tokens))

    assert after[0] >= before[0]


@given(SEQUENCE, TOKENS, TOKENS)
def test_more_tokens_never_lower_what_is_given_to_the_later_ones_together(
    planned: list[Planned], fewer: int, more: int
) -> None:
    assume(fewer <= more)

    before, after = allocate(planned, left(fewer)), allocate(planned, left(more))

    assert sum(after[1:]) >= sum(before[1:])


def test_a_certain_strategy_gets_what_it_needs_and_the_rest_is_kept_for_the_others() -> None:
    direct = Planned("direct", cost=200, spread=0, gain=0.5)
    dream = Planned("dream", cost=1500, spread=400, gain=0.6)

    assert allocate([direct, dream], left(2000)) == [200, 1800]
    assert allocate([direct, dream], left(8000)) == [6100, 1900]
    assert allocate([dream, direct], left(2000)) == [1800, 200]


def test_what_cannot_be_paid_is_not_paid_in_part() -> None:
    direct = Planned("direct", cost=200, spread=0, gain=0.5)
    dream = Planned("dream", cost=1500, spread=400, gain=0.6)

    assert allocate([direct, dream], left(1600)) == [1600, 0]
    assert allocate([dream, direct], left(100)) == [100, 0]


def test_after_one_that_is_surely_right_nothing_is_kept() -> None:
    sure = Planned("sure", cost=100, spread=0, gain=1.0)
    other = Planned("other", cost=100, spread=0, gain=0.9)

    assert allocate([sure, other], left(1000)) == [1000, 0]


@pytest.mark.parametrize(("gain", "shares"), [(0.9, [100, 0, 900]), (0.05, [100, 900, 0])])
def test_of_two_that_cannot_both_be_paid_the_one_with_more_gain_a_token_is(
    gain: float, shares: list[int]
) -> None:
    planned = [
        Planned("first", cost=100, spread=0, gain=0.3),
        Planned("second", cost=900, spread=0, gain=0.3),
        Planned("third", cost=900, spread=0, gain=gain),
    ]

    assert allocate(planned, left(1000)) == shares
