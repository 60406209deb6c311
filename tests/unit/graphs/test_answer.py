"""The end of a run: the answer, and which error is told when there is none."""

from __future__ import annotations

import time

import pytest

from reverie.errors import BudgetExceeded, ModelUnavailable, OutputInvalid, ReverieError
from reverie.graphs.answer import conclude
from reverie.graphs.attempt import NO_SIGNALS, answered, failed
from reverie.graphs.budget import NO_USAGE, Ledger
from reverie.graphs.records import Attempt

A_DAY = 86_400.0  # this file may be imported long before its tests run
LEDGER = Ledger({"tokens": 100, "seconds": A_DAY, "calls": 5, "money": None}, (), time.time())
SPENT = Ledger({"tokens": 100, "seconds": 60, "calls": 5, "money": None}, (), time.time() - 99)


def abstained() -> Attempt:
    return {**answered("dream", "x"), "answer": "", "status": "abstained", "error": "low"}


def test_it_is_that_of_the_attempt_that_succeeded() -> None:
    final = conclude(
        [abstained(), answered("direct", "It falls.", {**NO_SIGNALS, "mean": 0.8})], LEDGER
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
    final = conclude([abstained(), failed("direct", "OutputInvalid", "empty")], LEDGER)

    assert (final["status"], final["text"], final["strategy"]) == ("abstained", "", "dream")
    assert final["stopped"] == ""


def test_a_strategy_that_there_was_no_budget_for_is_told() -> None:
    final = conclude([abstained(), failed("direct", "BudgetExceeded", "too few")], LEDGER)

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

    assert conclude([attempt], SPENT)["stopped"] == (  # type: ignore[list-item]
        "the budget of 60 seconds is used up; answered from the 1 dreams that finished"
    )
    assert conclude([answered("direct", "x")], SPENT)["stopped"].endswith("is used up")


def test_error_text_is_never_an_answer() -> None:
    with pytest.raises(ModelUnavailable, match="gone") as caught:
        conclude([failed("direct", "ModelUnavailable", "gone", "start it")], LEDGER)
    assert caught.value.hint == "start it"

    with pytest.raises(OutputInvalid, match="empty"):
        conclude([answered("direct", "", None)], LEDGER)
    with pytest.raises(ReverieError, match="KeyError"):
        conclude([failed("direct", "InternalError", "KeyError: 'x'")], LEDGER)


def test_when_all_lacked_budget_the_cheapest_tells_how_much_would_do() -> None:
    attempts = [
        failed("dream", "BudgetExceeded", "349"),
        failed("direct", "BudgetExceeded", "115"),
        failed("chain_of_thought", "BudgetExceeded", "316"),
    ]

    with pytest.raises(BudgetExceeded, match="115"):
        conclude(attempts, LEDGER)


def test_a_failure_that_budget_would_not_mend_is_told_first() -> None:
    attempts = [
        failed("dream", "OutputInvalid", "all 4 dreams failed"),
        failed("direct", "BudgetExceeded", "115"),
    ]

    with pytest.raises(OutputInvalid, match="all 4"):
        conclude(attempts, LEDGER)
