"""How a budget is shared out between branches."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.errors import BudgetExceeded
from reverie.graphs.records import Limits
from reverie.graphs.shares import branch_shares


def left(tokens: int, calls: int = 64) -> Limits:
    return {"tokens": tokens, "seconds": 60.0, "calls": calls, "money": None}


PROMPTS = st.lists(st.integers(1, 400), min_size=1, max_size=16)


@given(PROMPTS, st.integers(0, 8000), st.integers(0, 20), st.integers(1, 100), st.integers(0, 200))
def test_shares_are_whole_equal_and_no_more_than_there_is(
    prompts: list[int], tokens: int, calls: int, smallest: int, more: int
) -> None:
    longest = smallest + more
    try:
        shares = branch_shares(
            left(tokens, calls), prompts, smallest=smallest, longest=longest, what="dream"
        )
    except BudgetExceeded:
        assert calls == 0 or tokens < prompts[0] + smallest
        return

    assert 1 <= len(shares) <= min(calls, len(prompts))
    assert sum(shares) <= tokens
    written = {share - prompt for share, prompt in zip(shares, prompts, strict=False)}
    assert len(written) == 1
    assert smallest <= written.pop() <= longest
    # As many as there are tokens for.
    more_prompts = prompts[: len(shares) + 1]
    if len(more_prompts) > len(shares) and len(shares) < calls:
        assert sum(more_prompts) + len(more_prompts) * smallest > tokens


def test_the_smallest_budget_is_named_and_would_do() -> None:
    with pytest.raises(BudgetExceeded, match="too few for a single dream") as caught:
        branch_shares(left(100), [80, 90], smallest=64, longest=96, what="dream")

    enough = int(re.findall(r"--budget (\d+)", caught.value.hint)[0])
    shares = branch_shares(left(enough), [80, 90], smallest=64, longest=96, what="dream")
    assert shares == [144]
