"""The end of a run: the answer, and which error is told when there is none."""

from __future__ import annotations

import time
from typing import Any

import pytest

from reverie.errors import BudgetExceeded, ModelUnavailable, OutputInvalid, ReverieError
from reverie.graphs.answer import conclude
from reverie.graphs.attempt import NO_SIGNALS, answered, failed
from reverie.graphs.budget import NO_USAGE, Ledger
from reverie.graphs.context import Context
from reverie.graphs.records import Attempt

A_DAY = 86_400.0  # this file may be imported long before its tests run
CONTEXT = Context()
LEDGER = Ledger({"tokens": 100, "seconds": A_DAY, "calls": 5, "money": None}, (), time.time())
SPENT = Ledger({"tokens": 100, "seconds": 60, "calls": 5, "money": None}, (), time.time() - 99)


def abstained() -> Attempt:
    return {**answered("dream", "x"), "answer": "", "status": "abstained", "error": "low"}


def sure(strategy: str, text: str, mean: float, **others: Any) -> Attempt:
    """An attempt with a confidence; ``others`` replace its fields."""
    attempt = answered(strategy, text, {**NO_SIGNALS, "mean": mean})
    attempt.update(others)  # type: ignore[typeddict-item]  # fields by name
    return attempt


def test_it_is_that_of_the_attempt_that_succeeded() -> None:
    final = conclude(
        [abstained(), answered("direct", "It falls.", {**NO_SIGNALS, "mean": 0.8})], LEDGER, CONTEXT
    )

    assert final == {
        "status": "answered",
        "text": "It falls.",
        "output": None,
        "strategy": "direct",
        "confidence": 0.8,
        "calibrated": False,
        "stopped": "",
    }


def test_an_abstention_stands_when_nothing_after_it_succeeded() -> None:
    final = conclude([abstained(), failed("direct", "OutputInvalid", "empty")], LEDGER, CONTEXT)

    assert (final["status"], final["text"], final["strategy"]) == ("abstained", "", "dream")
    assert final["stopped"] == ""


def test_a_strategy_that_there_was_no_budget_for_is_told() -> None:
    final = conclude([abstained(), failed("direct", "BudgetExceeded", "too few")], LEDGER, CONTEXT)

    assert final["stopped"] == "too few"


def test_an_answer_out_of_time_says_so() -> None:
    lost = {
        "branch": 1,
        "expert": "causal",
        "status": "failed",
        "answer": "",
        "triplets": [],
        "confidence": None,
        "usage": NO_USAGE,
        "error": "the time ran out",
    }
    kept = {**lost, "branch": 0, "status": "ok", "answer": "It falls."}
    attempt = {
        **answered("dream", "It falls.", {**NO_SIGNALS, "mean": 0.8}),
        "dreams": [kept, lost],
    }

    assert conclude([attempt], SPENT, CONTEXT)["stopped"] == (  # type: ignore[list-item]
        "the budget of 60 seconds is used up; answered from the 1 dreams that finished"
    )
    assert conclude([answered("direct", "x")], SPENT, CONTEXT)["stopped"].endswith("is used up")


def test_error_text_is_never_an_answer() -> None:
    with pytest.raises(ModelUnavailable, match="gone") as caught:
        conclude([failed("direct", "ModelUnavailable", "gone", "start it")], LEDGER, CONTEXT)
    assert caught.value.hint == "start it"

    with pytest.raises(OutputInvalid, match="empty"):
        conclude([answered("direct", "", None)], LEDGER, CONTEXT)
    with pytest.raises(ReverieError, match="KeyError"):
        conclude([failed("direct", "InternalError", "KeyError: 'x'")], LEDGER, CONTEXT)


def test_when_all_lacked_budget_the_cheapest_tells_how_much_would_do() -> None:
    attempts = [
        failed("dream", "BudgetExceeded", "349"),
        failed("direct", "BudgetExceeded", "115"),
        failed("chain_of_thought", "BudgetExceeded", "316"),
    ]

    with pytest.raises(BudgetExceeded, match="115"):
        conclude(attempts, LEDGER, CONTEXT)


def test_a_failure_that_budget_would_not_mend_is_told_first() -> None:
    attempts = [
        failed("dream", "OutputInvalid", "all 4 dreams failed"),
        failed("direct", "BudgetExceeded", "115"),
    ]

    with pytest.raises(OutputInvalid, match="all 4"):
        conclude(attempts, LEDGER, CONTEXT)


# -- the best of several ------------------------------------------------------------------------


def test_the_verifier_decides_before_confidence() -> None:
    right = sure("direct", "42", 0.1)
    right["signals"]["verifier"] = 1.0
    wrong = sure("chain_of_thought", "41", 0.9, calibrated=True)
    wrong["signals"]["verifier"] = 0.2
    context = Context(verifier="sum")

    assert conclude([right, wrong], LEDGER, context)["text"] == "42"
    assert conclude([wrong, right], LEDGER, context)["text"] == "42"


def test_what_another_model_says_of_it_is_no_verifier() -> None:
    """A signal that a strategy set by itself is one of several, and no verdict."""
    liked = sure("direct", "42", 0.1)
    liked["signals"]["verifier"] = 1.0
    sure_of_it = sure("chain_of_thought", "41", 0.9)

    assert conclude([liked, sure_of_it], LEDGER, CONTEXT)["text"] == "41"


def test_the_highest_calibrated_confidence_wins_when_none_is_enough() -> None:
    attempts = [
        sure("direct", "1", 0.3, calibrated=True),
        sure("chain_of_thought", "2", 0.45, calibrated=True),
        sure("dream", "3", 0.4, calibrated=True),
    ]

    final = conclude(attempts, LEDGER, CONTEXT)

    assert (final["text"], final["confidence"], final["calibrated"]) == ("2", 0.45, True)


def test_scores_that_are_not_calibrated_are_not_compared() -> None:
    """A share of samples and a probability of tokens are different things: the latest stands."""
    attempts = [sure("direct", "1", 0.29), sure("self_consistency", "2", 0.2)]

    assert conclude(attempts, LEDGER, CONTEXT)["text"] == "2"


def test_one_that_is_good_enough_wins_wherever_it_stands() -> None:
    attempts = [sure("direct", "1", 0.9), sure("chain_of_thought", "2", 0.1)]

    assert conclude(attempts, LEDGER, CONTEXT)["text"] == "1"


def test_the_best_so_far_says_so_when_the_budget_ended_it() -> None:
    attempts = [
        sure("direct", "1", 0.1),
        failed("chain_of_thought", "BudgetExceeded", "12 tokens are too few"),
    ]

    said = "12 tokens are too few; answered with the best so far"
    assert conclude(attempts, LEDGER, CONTEXT)["stopped"] == said
    spent = conclude(attempts[:1], SPENT, CONTEXT)["stopped"]
    assert spent == "the budget of 60 seconds is used up; answered with the best so far"
    asked = conclude(attempts[:1], SPENT, Context(strategy="direct"))["stopped"]
    assert asked == "the budget of 60 seconds is used up"
