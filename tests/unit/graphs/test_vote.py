"""The weighted vote: who wins, when it is settled, and what the verdict keeps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.graphs.budget import NO_USAGE
from reverie.graphs.records import Sample
from reverie.graphs.vote import Tally, next_wave, settled, tally_of, verdict_of


def votes(*cast: tuple[str, float | None]) -> Tally:
    """One vote per (answer, confidence); answers that are equal say the same."""
    names = list(dict.fromkeys(answer for answer, _ in cast))
    samples: list[Sample] = [
        {
            "branch": branch,
            "label": f"sample {branch + 1}",
            "status": "ok",
            "answer": answer,
            "confidence": confidence,
            "score": None,
            "usage": NO_USAGE,
            "error": "",
        }
        for branch, (answer, confidence) in enumerate(cast)
    ]
    return tally_of(samples, [names.index(answer) for answer, _ in cast])


def test_weight_decides_and_not_the_number_of_votes() -> None:
    tally = votes(("6", 0.3), ("6", 0.3), ("9", 0.9))

    verdict = verdict_of(tally)

    assert verdict["winner"] == 2
    assert tally.share(1) == pytest.approx(0.6)
    assert verdict["dissent"] == [0, 1]
    assert [c["total"] for c in verdict["candidates"]] == pytest.approx([0.4, 0.4, 0.6])
    assert verdict["why"] == "1 of 3 say the same, with 60% of the weight"


def test_without_log_probabilities_every_vote_is_one() -> None:
    tally = votes(("6", None), ("9", 0.9), ("6", None))

    assert tally.weights == (1.0, 1.0, 1.0)
    assert verdict_of(tally)["winner"] == 0


def test_a_model_that_is_sure_of_nothing_votes_all_the_same() -> None:
    assert votes(("6", 0.0), ("6", 0.0)).share(0) == 1.0


@pytest.mark.parametrize(
    ("cast", "winner"),
    [
        ([("a", 0.5), ("b", 0.25), ("b", 0.25)], 1),  # as heavy, but more votes
        ([("a", 0.5), ("a", 0.5), ("b", 0.25), ("b", 0.75)], 3),  # as many, but one is surer
        ([("a", None), ("b", None)], 0),  # alike in everything: the lower branch
    ],
)
def test_ties_have_an_order(cast: list[tuple[str, float | None]], winner: int) -> None:
    verdict = verdict_of(votes(*cast))

    assert verdict["winner"] == winner
    assert "a tie" in verdict["why"]


def test_the_surest_speaks_for_its_group() -> None:
    assert verdict_of(votes(("6", 0.2), ("6", 0.9), ("6", 0.5)))["winner"] == 1


def test_without_votes_nobody_wins() -> None:
    verdict = verdict_of(votes())

    assert (verdict["winner"], verdict["abstained"]) == (None, True)
    assert votes().leader is None
    assert votes().lead == 0


@pytest.mark.parametrize(("samples", "first"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (64, 33)])
def test_the_first_wave_is_a_majority(samples: int, first: int) -> None:
    assert next_wave(votes(), samples) == first


@pytest.mark.parametrize(
    ("cast", "left", "over", "wave"),
    [
        ([("a", 1.0)] * 3, 2, True, 1),
        ([("a", 0.6)] * 3, 2, False, 1),  # two sure votes could outweigh three that are not
        ([("a", 0.6)] * 4, 1, True, 1),
        ([("a", 1.0), ("a", 1.0), ("b", 1.0)], 2, False, 1),
        ([("a", 1.0), ("b", 1.0), ("c", 1.0)], 2, False, 2),
        ([("a", 1.0), ("b", 1.0)], 0, True, 0),
    ],
)
def test_it_is_settled_when_no_vote_can_change_it(
    cast: list[tuple[str, float]], left: int, over: bool, wave: int
) -> None:
    tally = votes(*cast)

    assert settled(tally, left) is over
    assert next_wave(tally, left) == wave


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.01, 1)), max_size=8),
    st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0.01, 1)), max_size=8),
)
def test_what_is_settled_stays_so(
    cast: list[tuple[str, float]], later: list[tuple[str, float]]
) -> None:
    now = votes(*cast)
    if not settled(now, len(later)) or now.leader is None:
        return
    then = votes(*cast, *later)
    assert then.leader is not None

    assert then.members(then.leader)[0]["answer"] == now.members(now.leader)[0]["answer"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1)), max_size=8), st.integers(1, 9))
def test_a_wave_is_never_empty_nor_more_than_is_left(
    cast: list[tuple[str, float]], left: int
) -> None:
    assert 1 <= next_wave(votes(*cast), left) <= left
